"""A server that accepts requests and never answers: every call ends in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from store.errors import CommitUncertainError, StoreError, StoreUnavailableError
from store.port import Committed
from store.postgresql import sessions
from store.postgresql.adapter import PostgresqlStore
from tests.store.builders import OWNER, Customer
from tests.store.postgresql_server import Schema
from tests.store.proxy import Proxy
from tests.store.test_postgresql_append import address, through

WITHIN_S = 0.3


@pytest.fixture
def proxy(schema: Schema) -> Iterator[Proxy]:
    """A connection to the server that can stop answering."""
    proxy = Proxy(*address(schema))
    yield proxy
    proxy.close()


@pytest.fixture
def store(schema: Schema, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlStore]:
    """A store with short time limits."""
    monkeypatch.setattr(sessions, "ANSWER_WITHIN_S", WITHIN_S)
    monkeypatch.setattr(sessions, "WAIT_S", 1.0)
    store = PostgresqlStore(through(proxy, schema), writers=1, readers=1)
    store.register_owner(OWNER)
    store.ping()
    yield store
    store.close()


CALLS: dict[str, Callable[[PostgresqlStore], object]] = {
    "ping": lambda store: store.ping(),
    "load": lambda store: store.load(Customer("c").stream),
    "heartbeat": lambda store: store.heartbeat(OWNER),
    "claim_work": lambda store: store.claim_work(OWNER, "gatewayA", 1),
    "append": lambda store: store.append([Customer("c").deposit("t1")]),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_ends_in_time(store: PostgresqlStore, proxy: Proxy, call: str) -> None:
    """The error states what is certain. The store works again once the server answers."""
    proxy.flows.clear()
    with pytest.raises(StoreError) as raised:
        CALLS[call](store)
    assert isinstance(raised.value, StoreUnavailableError | CommitUncertainError)
    proxy.flows.set()
    store.ping()
    assert store.append([Customer("d").deposit("t2")]) == [Committed()]


def test_a_batch_without_an_answer_is_resolved(store: PostgresqlStore, proxy: Proxy) -> None:
    """A batch without an answer gets its answer when it is appended again."""
    write = Customer("c").deposit("t1")
    proxy.flows.clear()
    with pytest.raises(StoreError):
        store.append([write])
    proxy.flows.set()
    assert store.append([write]) == [Committed()]
    assert len(store.stream_events(write.stream, after=0, limit=10)) == 1
