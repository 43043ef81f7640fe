"""The settings of sessions, and the error of a commit that the store could not settle: never "not stored"."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import Committed
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.retrying_writer import ATTEMPTS_MAX
from store.postgresql.sessions import Sessions, connection_settings
from tests.store.builders import OWNER, Customer
from tests.store.looking import versions
from tests.store.postgresql_server import Schema
from tests.store.proxy import Cut, Proxy
from tests.store.test_postgresql_append import address, through


@pytest.fixture
def proxy(schema: Schema) -> Iterator[Proxy]:
    """A connection to the server that can be cut."""
    proxy = Proxy(*address(schema))
    yield proxy
    proxy.close()


@pytest.fixture
def store(schema: Schema, proxy: Proxy) -> Iterator[PostgresqlStore]:
    """A store behind the proxy, with OWNER registered."""
    store = PostgresqlStore(through(proxy, schema), writers=2, readers=2)
    store.register_owner(OWNER)
    yield store
    store.close()


def test_a_commit_waits_for_the_disk(postgresql_url: str) -> None:
    """An acknowledged write is durable: no session commits asynchronously."""
    sessions = Sessions(connection_settings(postgresql_url), name="test", size=1)
    shown = sessions.read(lambda session: session.execute("SHOW synchronous_commit").fetchone())
    sessions.close()
    assert shown == ("on",)


@pytest.mark.parametrize(
    ("where", "error", "stored"),
    [(Cut.BEFORE_ANSWER, CommitUncertainError, [1]), (Cut.BEFORE_REQUEST, StoreUnavailableError, [])],
)
def test_a_batch_that_is_cut_every_time(
    store: PostgresqlStore, proxy: Proxy, where: Cut, error: type[Exception], stored: list[int]
) -> None:
    """After the last attempt "not stored" is reported only for a write that is certainly not stored."""
    customer = Customer()
    proxy.only = b"DepositReceived"  # a batch
    proxy.cut(*[where] * ATTEMPTS_MAX)
    with pytest.raises(error):
        store.append([customer.deposit("t1")])
    assert versions(store, customer.stream) == stored


def test_a_batch_that_fails_after_it_was_cut(store: PostgresqlStore, proxy: Proxy, schema: Schema) -> None:
    """The cut attempt may be stored although the next one is certainly not. Both writers receive "uncertain"."""
    customer = Customer()
    write = customer.deposit("t1")
    with psycopg.connect(schema.conninfo(owner=True)) as holder:

        def hold_up() -> None:
            holder.execute("LOCK TABLE heads IN EXCLUSIVE MODE")

        proxy.only = b"DepositReceived"  # a batch
        proxy.on_cut = hold_up  # so that the next attempt waits and fails
        proxy.cut(Cut.BEFORE_ANSWER)
        with pytest.raises(CommitUncertainError):
            store.append([write])
    assert versions(store, customer.stream) == [1]
    assert store.append([write]) == [Committed()]
