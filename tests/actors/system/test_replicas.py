"""A service on PostgreSQL whose synchronous replica is away, and after a failover to one that lacks the last commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from actors.customer.idempotency import IdempotencyKey
from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted, NotStored, Replayed, Reply, Uncertain
from actors.runtime.runtime import LiveRuntime
from store.codec import Metadata
from store.postgresql import sessions
from store.postgresql.adapter import PostgresqlStore
from tests.actors.support import stream
from tests.actors.system.fixtures import Service
from tests.postgresql.embedded import embedded_server
from tests.store.replicas import Replicated, started, until

DEADLINE_S = 3.0
ONCE = IdempotencyKey("idempotency:deposit:main", "k-1", "100 USD")
TRANSACTIONS = "SELECT count(*) FROM transactions"


@contextmanager
def serving(url: str) -> Iterator[Service]:
    """A service on that database."""
    runtime, store = LiveRuntime(), PostgresqlStore(url, writers=2, readers=2)
    service = Service(runtime, store, store, request_deadline_s=DEADLINE_S, exclusive=False)
    service.system.start()
    try:
        yield service
    finally:
        runtime.stop(5.0)
        store.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWER_WITHIN_S", 1.0)


@pytest.fixture
def replicated() -> Iterator[Replicated]:
    """A server of which a replica may be expected."""
    with embedded_server(durable=False) as server:
        yield Replicated(server)


def deposit(service: Service) -> Reply:
    """Send the deposit under its key: a new command each time, as a client's repetition is."""
    return service.facade.execute(stream(), ReceiveOperation(service.command(), Metadata("r-1"), ONCE))


@pytest.mark.parametrize("how", [None, "cancel", "terminate"])
def test_a_deposit_is_neither_acknowledged_nor_sent_before_the_replica_has_it(
    replicated: Replicated, how: str | None
) -> None:
    """This holds whichever side ends the wait. When the replica is back, the key has one transaction, charged once."""
    url = replicated.new_database()
    with serving(url) as service:
        replicated.go_away()
        first = started(lambda: deposit(service))
        if how is not None:
            replicated.signal(replicated.until_one_waits(), how)
        assert isinstance(first.result(30), Uncertain | NotStored)
        assert isinstance(deposit(service), Uncertain | NotStored)
        assert service.gateway.calls == []
        replicated.come_back()
        until(lambda: isinstance(deposit(service), Replayed | Accepted))
        until(lambda: service.real.work_counts() == {})
        assert replicated.visible(url, TRANSACTIONS) == 1
        assert len(service.gateway.calls) == 1


def test_after_a_failover_without_the_last_commit_it_is_charged_once(replicated: Replicated) -> None:
    """It was visible on the old primary and is lost with it. Under the same key it is one payment on the new one."""
    primary, url = replicated.server, replicated.new_database()
    with embedded_server(durable=False, primary=primary) as standby:
        standby.stop()  # it does not receive what is committed from now on
        database = url.rpartition("/")[2]
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        with serving(f"postgresql://postgres@{hosts}/{database}") as service:
            replicated.go_away()
            first = started(lambda: deposit(service))
            replicated.signal(replicated.until_one_waits(), "cancel")
            assert isinstance(first.result(30), Uncertain)
            assert replicated.visible(url, TRANSACTIONS) == 1
            primary.kill()
            standby.start()
            standby.order("SELECT pg_promote()")
            assert replicated.visible(standby.url(database), TRANSACTIONS) == 0
            until(lambda: isinstance(deposit(service), Replayed | Accepted))
            until(lambda: service.real.work_counts() == {})
            assert replicated.visible(standby.url(database), TRANSACTIONS) == 1
            assert len(service.gateway.calls) == 1
