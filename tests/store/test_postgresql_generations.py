"""A PostgreSQL database on another server or timeline has been restored to an earlier state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from store.backends import backend_of
from store.errors import StoreInUseError
from store.port import TOKENS_APART, DeliveryCertainty, Lease
from store.postgresql import generations
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.rows import Row, fetched
from tests.postgresql.embedded import EmbeddedServer, embedded_server
from tests.store.builders import OWNER, START, Customer
from tests.store.postgresql_server import Schema

ROOT = Path("/")


def opened(schema: Schema) -> PostgresqlStore:
    """A service's store, as the role with the least rights."""
    return PostgresqlStore(schema.conninfo(), writers=1, readers=1)


@pytest.mark.parametrize(
    "what", ["UPDATE generations SET timeline = timeline + 1", "UPDATE generations SET system_id = system_id + 1"]
)
def test_another_server_or_timeline_begins_a_generation(own_schema: Schema, what: str) -> None:
    """The first connection begins the generation, before anything is claimed.

    Later connections do not begin another one.
    """
    own_schema.clear()
    first = opened(own_schema)
    first.register_owner(OWNER)
    first.append([Customer().deposit("t1", owner=OWNER)])
    assert first.feed().generation == 0
    first.close()
    own_schema.execute(what)
    try:
        with ThreadPoolExecutor(3) as pool:
            stores = list(pool.map(lambda _: opened(own_schema), range(3)))
        assert [store.feed().generation for store in stores] == [1, 1, 1]
        assert stores[0].lease("t1") == Lease(1 + TOKENS_APART, None)
        stores[0].register_owner(OWNER)
        (item,) = stores[0].claim_work(OWNER, "gatewayA", 1)
        assert item.certainty is DeliveryCertainty.SENT
        for store in stores:
            store.close()
    finally:
        own_schema.execute(
            "UPDATE generations SET (timeline, system_id) = (SELECT timeline, system_id FROM server_identity())"
        )


def test_a_reader_sees_it_before_it_reads(own_schema: Schema) -> None:
    """A session that only reads begins the generation as well. It returns no position of the lost time."""
    own_schema.clear()
    store = opened(own_schema)
    try:
        own_schema.execute("UPDATE generations SET timeline = timeline + 1")
        with store._reading.pool.connection() as session:
            session.close()
        store._reading.replace_lost()
        assert store.feed().generation == 1
    finally:
        store.close()
        own_schema.execute("UPDATE generations SET timeline = (SELECT timeline FROM server_identity())")


def test_a_writer_sees_it_before_it_claims(own_schema: Schema) -> None:
    """Work that was sent in the lost time is not claimed as unsent, even when no reading connection is replaced."""
    own_schema.clear()
    store = opened(own_schema)
    try:
        store.append([Customer().deposit("t1")])
        own_schema.execute("UPDATE generations SET timeline = timeline + 1")
        with store._writing.pool.connection() as session:
            session.close()
        store._writing.replace_lost()
        store.register_owner(OWNER)
        (item,) = store.claim_work(OWNER, "gatewayA", 1)
        assert item.certainty is DeliveryCertainty.SENT
    finally:
        store.close()
        own_schema.execute("UPDATE generations SET timeline = (SELECT timeline FROM server_identity())")


@pytest.mark.parametrize("unknown", ["to the process", "to the database"])
def test_a_role_without_the_right_to_read_the_system_id(own_schema: Schema, unknown: str) -> None:
    """Without the right only the timeline shows a restore.

    A system id that other processes recorded is not a change.
    """
    own_schema.clear()
    ((definition,),) = own_schema.execute("SELECT pg_get_functiondef('server_identity'::regproc)")
    denied = definition.replace("has_function_privilege('pg_control_system()', 'EXECUTE')", "false")
    assert denied != definition
    if unknown == "to the process":
        assert own_schema.execute("SELECT 1 FROM generations WHERE system_id IS NOT NULL")
        own_schema.execute(denied)
    else:
        own_schema.execute("UPDATE generations SET system_id = NULL")
    try:
        store = opened(own_schema)
        assert store.feed().generation == 0
        store.close()
    finally:
        own_schema.execute(definition)
        own_schema.execute("UPDATE generations SET system_id = (SELECT system_id FROM server_identity())")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server whose timeline the test may change."""
    with embedded_server(durable=False) as it:
        yield it


def test_a_promotion_is_detected(server: EmbeddedServer) -> None:
    """A promoted standby writes on another timeline at once, and not only after its next checkpoint."""
    backend_of(server.url(), root=ROOT).migrate()
    store = PostgresqlStore(server.url(), writers=1, readers=1)
    store.append([Customer().deposit("t1")])
    store.close()
    server.stop()
    (server._data / "standby.signal").touch()
    server.start()
    with psycopg.connect(server.url(), autocommit=True) as admin:
        assert admin.execute("SELECT pg_promote()").fetchone() == (True,)
    store = PostgresqlStore(server.url(), writers=1, readers=1)
    assert store.feed().generation == 1
    assert store.lease("t1") == Lease(1 + TOKENS_APART, None)
    with pytest.raises(StoreInUseError), backend_of(server.url(), root=ROOT).restore(now=START):
        pass
    store.close()
    server.stop()
    server.start()
    store = PostgresqlStore(server.url(), writers=1, readers=1)
    assert store.feed().generation == 1
    store.close()


def test_an_operator_marks_it(server: EmbeddedServer) -> None:
    """The command begins the next generation, or a higher one that it names, and lists unfinished transactions."""
    backend_of(server.url(), root=ROOT).migrate()
    with backend_of(server.url(), root=ROOT).restore(now=START) as restoring:
        first = restoring.mark(0)
        again = restoring.mark(first.generation + 5)
    assert again.generation == first.generation + 5
    assert [it.transaction_id for it in first.unfinished] == ["t1"]
    assert first.newest is not None
    assert first.newest.type == "DepositReceived"


def test_a_restore_to_before_a_generation_that_a_process_used(own_schema: Schema) -> None:
    """The next generation is above all generations that the process has used, even if the database has none of them."""
    own_schema.clear()
    store = opened(own_schema)
    try:
        assert store.begin_generation(0) == 1
        with store._reading.pool.connection() as session:
            session.close()
        store._reading.replace_lost()
        assert store.feed().generation == 1  # seen by a connection
        own_schema.execute("DELETE FROM generations WHERE number > 0")
        with store._reading.pool.connection() as session:
            session.close()
        store._reading.replace_lost()
        assert store.feed().generation == 2
    finally:
        store.close()


def test_connections_that_are_opened_at_once_begin_one_generation(
    own_schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process opens several connections after a failover.

    A connection that checked too early begins no second generation.
    """
    own_schema.clear()
    store = opened(own_schema)
    late: list[Callable[[], None]] = []

    def fetched_late(cursor: psycopg.Cursor[Row]) -> list[Row]:
        rows = fetched(cursor)
        while late:
            late.pop()()
        return rows

    try:
        follow = generations.Follower()
        with store._reading.pool.connection() as one, store._writing.pool.connection() as other:
            follow(one)
            own_schema.execute("UPDATE generations SET timeline = timeline + 1")
            late.append(lambda: follow(other))
            monkeypatch.setattr(generations, "fetched", fetched_late)
            follow(one)
        assert store.feed().generation == 1
    finally:
        store.close()
        own_schema.execute("UPDATE generations SET timeline = (SELECT timeline FROM server_identity())")
