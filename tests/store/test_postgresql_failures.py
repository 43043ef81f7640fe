"""Every error of psycopg becomes the right error of the store."""

from __future__ import annotations

import re

import psycopg
import psycopg_pool
import pytest
from psycopg import errors

from domain.account import Balance
from store.errors import CorruptStoreError, SchemaError, StoreError, StoreUnavailableError, UnstorableError
from store.port import Head, Load, StreamKey, Write
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.failures import is_race, translated
from store.postgresql.sessions import Session, connection_settings
from store.postgresql.statements import SQL
from store.queries import TransactionFilter
from store.verify import verify
from tests.store.builders import OWNER, START, Customer, Step, complete, deposit, move
from tests.store.postgresql_server import NOT_DURABLE, Schema

CLASSES: dict[str, type[StoreError]] = {
    "08": StoreUnavailableError,  # connection
    "22": UnstorableError,  # data
    "23": UnstorableError,  # integrity
    "25": StoreUnavailableError,  # transaction state, for example a server that only reads
    "40": StoreUnavailableError,  # rolled back
    "42": SchemaError,  # syntax, names and rights
    "53": StoreUnavailableError,  # resources
    "54": UnstorableError,  # limits
    "55": StoreUnavailableError,  # state of an object: a lock that was not released in time
    "57": StoreUnavailableError,  # an operator stopped it
    "58": StoreUnavailableError,  # the system
}
ONE_BY_ONE: dict[type[psycopg.Error], type[StoreError]] = {
    errors.InvalidSchemaName: SchemaError,
    errors.InvalidCatalogName: SchemaError,
    errors.DataCorrupted: CorruptStoreError,
    errors.IndexCorrupted: CorruptStoreError,
    errors.InternalError_: StoreUnavailableError,
    psycopg.OperationalError: StoreUnavailableError,
    psycopg.InterfaceError: StoreUnavailableError,
    psycopg_pool.PoolTimeout: StoreUnavailableError,
    psycopg_pool.PoolClosed: StoreUnavailableError,
    psycopg_pool.TooManyRequests: StoreUnavailableError,
    psycopg.errors.ConnectionTimeout: StoreUnavailableError,
}
KNOWN = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, psycopg.Error)]


@pytest.mark.parametrize("code", CLASSES)
def test_a_class_of_errors(code: str) -> None:
    """All errors of one class of SQLSTATE mean the same for the store."""
    members = [one for one in KNOWN if (one.sqlstate or "")[:2] == code]
    assert members
    assert {type(translated(one("text"))) for one in members} == {CLASSES[code]}


@pytest.mark.parametrize("error", ONE_BY_ONE)
def test_an_error(error: type[psycopg.Error]) -> None:
    """Errors that need a rule of their own, and those without an SQLSTATE."""
    store_error = translated(error("some\ntext"))
    assert type(store_error) is ONE_BY_ONE[error]
    assert "some\ntext" in str(store_error)


@pytest.mark.parametrize("error", KNOWN)
def test_every_error_is_translated(error: type[psycopg.Error]) -> None:
    """Every error is an error of the store, also one that the tables above do not name."""
    assert isinstance(translated(error("text")), StoreError)


def test_errors_of_races_are_recognised() -> None:
    """A call that collided with another process may be repeated. A call with a key that is taken may not."""
    assert [one.__name__ for one in KNOWN if is_race(one("text"))] == ["SerializationFailure", "DeadlockDetected"]


STATEMENTS: dict[str, type[StoreError]] = {
    "SELECT 1 / 0": UnstorableError,
    "SELECT nothing": SchemaError,
    "SELECT 1 FROM nothing": SchemaError,
    "SELECT nothing()": SchemaError,
    "DELETE FROM events": SchemaError,
    "SELECT pg_sleep(60)": StoreUnavailableError,
    "SELECT pg_terminate_backend(pg_backend_pid())": StoreUnavailableError,
    "SET default_transaction_read_only = on": StoreUnavailableError,
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_real_errors_of_a_server(schema: Schema, statement: str) -> None:
    """Real errors of a real server are translated, and the store continues afterwards."""
    if not schema.role:
        pytest.skip("not run: the tests' user may not make roles")
    store = PostgresqlStore(schema.conninfo(options=f"{NOT_DURABLE} -c statement_timeout=100"), readers=1, writers=1)
    try:
        with pytest.raises(STATEMENTS[statement]):
            store._reading.read(lambda session: _failing(session, statement))
        store.ping()
        assert store._writer.change(lambda session: session.execute("SELECT 7").fetchall(), repeatable=False) == [(7,)]
    finally:
        store.close()


def _failing(session: psycopg.Connection[tuple[object, ...]], statement: str) -> object:
    session.execute(statement.encode())
    return session.execute("CREATE TEMPORARY TABLE odd (x int); DELETE FROM balances")


def test_a_server_that_only_reads(schema: Schema) -> None:
    """A standby, or a server during a failover, is not available. The write is not at fault."""
    with pytest.raises(StoreUnavailableError, match="read-only"):
        PostgresqlStore(schema.conninfo(options=f"{NOT_DURABLE} -c default_transaction_read_only=on"))


def test_a_missing_table(schema: Schema) -> None:
    """A table that is renamed under a running service breaks the schema, and the error states it."""
    store = PostgresqlStore(schema.conninfo())
    schema.execute("ALTER TABLE balances RENAME TO elsewhere")
    try:
        with pytest.raises(SchemaError):
            store.customer(Customer().stream)
        with pytest.raises(SchemaError):
            store.append([Customer().deposit("t1"), _completed()])
    finally:
        schema.execute("ALTER TABLE elsewhere RENAME TO balances")
        store.close()


def _completed() -> Write:
    return Customer("other").write(deposit("t2"), complete("t2"))


EDITS = {
    "body": "UPDATE events SET body = convert_to(replace(convert_from(body, 'UTF8'), 'A-1', 'A-2'), 'UTF8')"
    " WHERE version = 2",
    "version": "UPDATE events SET version = 77 WHERE version = 2",
    "deleted": "DELETE FROM events WHERE version = 2",
    "position": "UPDATE events SET position = DEFAULT WHERE version = 2",
    "status": "UPDATE transactions SET status = 'processed' WHERE transaction_id = 't1'",
    "balance": "UPDATE balances SET available_minor = 1",
    "details": "UPDATE transactions SET kind = 'deposit', details = '[1]' WHERE transaction_id = 't1'",
    "another's": "UPDATE transactions SET stream_id = 'x' WHERE transaction_id = 't1'",
    "a time beyond all calendars": "ALTER TABLE transactions DROP CONSTRAINT transactions_times_readable;"
    " UPDATE transactions SET created_at = '20000-01-01' WHERE transaction_id = 't1';"
    " ALTER TABLE transactions ADD CONSTRAINT transactions_times_readable CHECK (is_readable(created_at)) NOT VALID",
    "work": "INSERT INTO work VALUES ('w', 'main', 'customer-1', 't1', 'g', 'submit', 'x', 'queued', NULL, 1, 0,"
    " now(), '[]', NULL, now(), 0)",
}


@pytest.mark.parametrize("what", EDITS)
def test_verify_finds_every_change(schema: Schema, shared_store: PostgresqlStore, what: str) -> None:
    """A sound database has no problems. Every change that the service did not make is found."""
    customer = Customer()
    shared_store.append([customer.deposit("t1"), customer.complete("t1"), Customer("b").deposit("t2")])
    with shared_store.audit() as audit:
        assert list(verify(audit)) == []
    schema.execute("ALTER TABLE events DISABLE TRIGGER events_refuse_change")
    schema.execute(EDITS[what])
    with shared_store.audit() as audit:
        problems = list(verify(audit))
    assert customer.stream in {problem.stream for problem in problems}
    assert Customer("b").stream not in {problem.stream for problem in problems}


def test_an_error_quotes_no_row(schema: Schema, shared_store: PostgresqlStore) -> None:
    """The server's text about a refused row, with the row itself, must not reach logs."""
    assert schema.execute("SELECT 1 FROM events") == []
    write = Customer().deposit("t1")
    write = Write(write.stream, write.head, write.parts, write.transactions, (("USD", Balance(-123_456, 0)),))
    with pytest.raises(UnstorableError, match="balances_available_not_negative") as caught:
        shared_store.append([write])
    assert "123456" not in str(caught.value)


def test_an_id_that_no_row_can_hold_is_not_found(schema: Schema, shared_store: PostgresqlStore) -> None:
    """An id with characters that PostgreSQL's text does not have is unknown, like any other missing id."""
    assert schema.execute("SELECT 1 FROM events") == []
    customer = Customer("whole")
    shared_store.append([customer.deposit("t1")])
    for odd in ("\x00", "\ud800"):
        assert shared_store.transaction("main", odd) is None
        assert shared_store.dead_letter("main", odd) is None
        assert shared_store.customer(StreamKey("main", odd)) is None
        assert shared_store.load(StreamKey("main", odd), [odd]).head == Head()
        beside = [Load(StreamKey(odd, "a")), Load(customer.stream, [odd, "t1"]), Load(StreamKey("main", odd), ["t1"])]
        missing, found, other = shared_store.load_many(beside)
        assert (missing.head, found.account, other.head) == (Head(), customer.account, Head())
        assert shared_store.transactions("main", TransactionFilter(customer_id=odd), before=odd, limit=1) == []


def test_a_batch_of_loads_with_a_damaged_row_fails(schema: Schema, shared_store: PostgresqlStore) -> None:
    """Alone, the other customers are loaded, and the damaged one fails."""
    whole, damaged = Customer("whole"), Customer("damaged")
    shared_store.append([whole.deposit("t1"), damaged.deposit("t2")])
    loads = [Load(whole.stream, ["t1"]), Load(damaged.stream, ["t2"])]
    assert [one.account for one in shared_store.load_many(loads)] == [whole.account, damaged.account]
    schema.execute(
        "UPDATE transactions SET status = 'failed', failure_code = 'x', failure_category = 'odd'"
        " WHERE transaction_id = 't2'"
    )
    with pytest.raises(CorruptStoreError):
        shared_store.load_many(loads)
    with pytest.raises(CorruptStoreError):
        shared_store.load(*loads[1])
    assert shared_store.load(*loads[0]).account == whole.account


def test_a_time_that_cannot_be_read_cannot_be_stored(schema: Schema, shared_store: PostgresqlStore) -> None:
    """It would prevent claims of all due work. So it is refused on its own."""
    shared_store.register_owner(OWNER)
    customer = Customer()
    shared_store.append([customer.deposit("t1")])
    for delay_s in (1e12, float("inf"), float("nan")):
        with pytest.raises(UnstorableError):
            shared_store.append([customer.write(Step(work=(move("t1", delay_s=delay_s),)))])
    assert schema.execute("SELECT token FROM work") == [(1,)]


WHOLE_TABLES = {
    "count_work": "counts for the metrics read all unfinished work",
    "select_stats": "the metrics count all unfinished work",
    "select_open_transactions": "of a restored database; reads all unfinished work",
    "create_unfinished": "an audit reads everything",
    "select_streams": "an audit reads everything",
    "select_gateway_modes": "orders are as many as gateways",
    "select_vocabulary_floor": "owners are as many as processes",
    "select_breakers": "breakers are as many as gateways",
    "select_relay_names": "relays are few",
    "select_relay_moves": "not the service's to run",
    "move_relay": "not the service's to run",
    "index_unfinished": "no query",
    "select_unfinished": "of a table that an audit makes",
    "select_api_keys": "keys are as many as callers, and people list them",
    "select_any_api_key": "once at a start, and the first live one ends it",
    "insert_api_key": "not the service's to run",
    "revoke_api_key": "not the service's to run",
    "take_exclusive_lock": "no query",
    "select_service_lock_holders": "locks are no table",
    "insert_rebuild": "not the service's to run",
}
REBUILDS: dict[str, list[object]] = {
    "cut_head": [0, b"", "0", "0"],
    "delete_transactions": ["0", "0"],
    "delete_balances": ["0", "0"],
    "delete_reviews": ["0", "0"],
    "delete_stray_transactions": [["0"]],
    "delete_stray_reviews": [["0"]],
}
"""Statements for the owner of the tables only, with values."""


LISTS: dict[str, object] = {
    key: ["0"] for key in ("transaction_ids", "review_ids", "names", "states", "statuses", "kinds", "gateways")
}
SAMPLES: dict[str, object] = LISTS | dict.fromkeys(("created_from", "created_to", "opened_at"), START)


OF_ARRAYS = {"append_writes", "select_transactions_of"}
"""Statements whose unnamed parameters are arrays."""


@pytest.mark.parametrize("name", sorted(SQL.keys() - WHOLE_TABLES.keys() - REBUILDS.keys()))
def test_no_statement_reads_a_whole_table(shared_store: PostgresqlStore, name: str) -> None:
    """Even while all tables are empty the server plans to find rows by their keys.

    The plan stays when the tables grow.
    """
    query = SQL[name]
    named = {key: SAMPLES.get(key, "0") for key in re.findall(r"%\((\w+)\)s", query)}
    values = named or ["{}" if name in OF_ARRAYS else "0"] * query.count("%s")
    plan = shared_store._reading.read(lambda session: session.execute(f"EXPLAIN {query}", values).fetchall())
    assert not [step for (step,) in plan if "Seq Scan" in step], plan


@pytest.mark.parametrize("name", REBUILDS)
def test_no_statement_of_a_rebuild_reads_a_whole_table(schema: Schema, name: str) -> None:
    """The same holds for the statements that a rebuild executes for each stream."""
    with Session.connect(**connection_settings(schema.conninfo(owner=True))) as session:
        plan = session.execute(f"EXPLAIN {SQL[name]}", REBUILDS[name]).fetchall()
    assert not [step for (step,) in plan if "Seq Scan" in step], plan


def test_an_audit_of_many_streams(schema: Schema, shared_store: PostgresqlStore) -> None:
    """An audit returns more streams and events than one fetch, in order, while other processes write."""
    assert schema.execute("SELECT 1 FROM events") == []
    names = sorted(f"c{number}" for number in range(1203))
    long = Customer("long")
    shared_store.append([Customer(name).deposit(f"t-{name}") for name in names])
    shared_store.append([long.write(*(deposit(f"t{number}") for number in range(1100)))])
    with shared_store.audit() as audit:
        streams = audit.streams()
        first = next(streams)
        shared_store.append([Customer("late").deposit("late")])
        assert [event.version for event in audit.events(long.stream)] == list(range(1, 1101))
        assert [stream.id for stream in (first, *streams)] == [*names, "long"]
