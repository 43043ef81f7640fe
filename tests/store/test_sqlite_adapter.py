"""The behaviour of the SQLite adapter alone: triggers, query plans, readers, errors, and the opening by URL."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from domain.account import Balance
from store.backends import backend_of
from store.errors import CorruptStoreError, SchemaError, StoreError, StoreUnavailableError, UnstorableError
from store.named_queries import load_queries
from store.port import Committed, DeadLetterFilter, Head, Snapshot, StreamKey
from store.queries import TransactionFilter
from store.sqlite import connection as connection_module
from store.sqlite.adapter import SqliteStore
from store.sqlite.failures import translated
from store.sqlite.rows import DIALECT
from store.sqlite.schema_version import migrations
from store.sqlite.statements import SQL
from tests.store.builders import OWNER, Clock, Customer, Step, complete, received

URL = "sqlite:///var/payments.db"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store opened by its URL, with one deposit in it."""
    assert backend_of(URL, root=tmp_path).migrate() == (list(migrations()), False)
    store = backend_of(URL, root=tmp_path).open(clock=Clock())
    assert isinstance(store, SqliteStore)
    store.register_owner(OWNER)
    assert store.append([Customer().deposit("t1", owner=OWNER)]) == [Committed()]
    yield store
    store.close()


@pytest.mark.parametrize("statement", ["UPDATE events SET type = 'x'", "DELETE FROM events", "REPLACE"])
def test_events_refuse_to_be_changed(store: SqliteStore, tmp_path: Path, statement: str) -> None:
    """A program that opens the file cannot change or delete an event without removing the triggers first."""
    if statement == "REPLACE":
        statement = "UPDATE OR REPLACE events SET version = 1"
    connection = apsw.Connection(str(tmp_path / "var" / "payments.db"))
    with pytest.raises(apsw.ConstraintError, match="events are never"):
        connection.execute(statement)
    connection.close()
    assert len(store.stream_events(StreamKey("main", "customer-1"), after=0, limit=9)) == 1


def known(store: SqliteStore) -> Customer:
    """The customer of the stored deposit, as it is on record."""
    customer = Customer()
    customer.head, customer.account = store.load(customer.stream, ["t1"])
    return customer


def test_the_database_refuses_a_second_event_of_a_version(store: SqliteStore, tmp_path: Path) -> None:
    """When a head was set back, the unique key of the events still refuses the version."""
    customer = known(store)
    first = customer.head
    assert store.append([customer.twin().deposit("t2")]) == [Committed()]
    connection = apsw.Connection(str(tmp_path / "var" / "payments.db"))
    connection.execute("UPDATE heads SET version = ?, hash = ?", first)
    connection.close()
    with pytest.raises(UnstorableError, match=r"events\.stream_name, events\.stream_id, events\.version"):
        store.append([customer.deposit("t3")])
    assert [event.version for event in store.stream_events(customer.stream, after=0, limit=9)] == [1, 2]


@pytest.mark.parametrize("balance", [Balance(-1, 0), Balance(1, -1)])
def test_the_database_refuses_a_negative_balance(store: SqliteStore, balance: Balance) -> None:
    """Nothing of the write is stored, and the balances stay as they are."""
    customer = known(store)
    assert store.append([customer.complete("t1")]) == [Committed()]
    write = dataclasses.replace(customer.deposit("t2"), balances=(("USD", balance),))
    with pytest.raises(UnstorableError, match="heads_balances_not_negative"):
        store.append([write])
    assert store.load(customer.stream).account.balances == {"USD": Balance(10_000)}


def test_balances_that_a_write_does_not_name_stay(store: SqliteStore) -> None:
    """A write has the balances of its own currencies only."""
    customer = known(store)
    writes = [
        customer.complete("t1"),
        customer.write(Step((received("t2", 5, "EUR"),)), complete("t2")),
        customer.deposit("t3"),
    ]
    for write in writes:
        assert store.append([write]) == [Committed()]
    snapshot = store.load(customer.stream)
    assert snapshot.account.balances == {"USD": Balance(10_000), "EUR": Balance(5)}
    assert snapshot.head == customer.head


WHOLE_TABLES = {
    "count_work": "counted once at a start",
    "select_stats": "all unfinished work is read for the metrics, and little else (tests/store/test_plans.py)",
    "release_work": "owners end rarely, and an index of leases would cost each deposit",
    "limit_dues": "once at a start, and then all work that is to be due is looked at",
    "set_dues_back": "a clock is set back rarely, and then all that is to be due goes with it",
    "select_dead_owners": "owners are as many as processes",
    "fill_unfinished": "an audit reads everything",
    "select_gateway_modes": "orders are as many as gateways",
    "select_breakers": "breakers are as many as gateways",
    "select_relay_names": "relays are few",
    "ping": "one row",
    "select_holders": "for a rebuild: few ids are looked for, by their keys",
    "select_api_keys": "there are as many keys as callers, and operators list them",
    "void_leases": "a database is restored rarely, and then all unfinished work is touched",
    "raise_epochs": "the same, of breakers, which are as many as gateways",
    "select_open_transactions": "the same: all that is unfinished is listed",
    "select_last_event_of_all": "one row, from the end of the table",
    "select_any_api_key": "once at a start, and the first live one ends it",
}


FOUND_BY_ITSELF = {f"SCAN {name}" for name in ("known", "before", "which", "lists", "relay")}
"""Scans of the rows that a statement has found so far."""


@pytest.mark.parametrize("name", sorted(SQL.keys() - WHOLE_TABLES.keys()))
def test_no_statement_reads_a_whole_table(store: SqliteStore, name: str) -> None:
    """Every statement except the few above finds its rows through a key or an index."""
    connection = store._writer._connection
    if name in {"select_unfinished", "select_next_in_unfinished"}:
        connection.execute(SQL["create_unfinished"])
    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", bindings_of(name)).fetchall()]
    given = ("CONSTANT", "json_each", "VIRTUAL TABLE")  # the arguments of the statement
    scans = [step for step in plan if step.startswith("SCAN") and step not in FOUND_BY_ITSELF]
    assert not [step for step in scans if not any(what in step for what in given)], plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


def bindings_of(name: str) -> tuple[None, ...]:
    """As many NULLs as the statement has parameters."""
    return (None,) * max((number for number in range(1, 30) if f"?{number}" in SQL[name]), default=0)


@pytest.mark.parametrize(("name", "table"), [("select_dead_letters", "w"), ("retry_dead", "work")])
def test_dead_letters_are_found_without_the_other_work(store: SqliteStore, name: str, table: str) -> None:
    """The list and the retry of dead letters read an index that contains nothing else."""
    connection = store._writer._connection
    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", bindings_of(name)).fetchall()]
    assert len(plan) == 1
    assert plan[0].startswith(f"SEARCH {table} USING INDEX work_dead_letters (stream_name=?")


def test_every_statement_is_used() -> None:
    """The adapter, or the code that it shares, uses every query of the file."""
    folder = Path(connection_module.__file__).parent
    files = [*folder.glob("*.py"), *folder.parent.glob("*.py")]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    by_filter = {f"select_{each.name}_transactions" for each in dataclasses.fields(TransactionFilter)}
    assert [name for name in SQL.keys() - by_filter if f'"{name}"' not in code] == []


def test_reads_leave_no_snapshot_open(store: SqliteStore, tmp_path: Path) -> None:
    """After reads of every kind the log can be emptied: an open snapshot would let it grow without limit."""
    key = StreamKey("main", "customer-1")
    reads: list[Callable[[], object]] = [
        lambda: store.load(key, ["t1"]),
        lambda: store.transaction("main", "t1"),
        lambda: store.transactions("main", TransactionFilter(), before=None, limit=1),
        lambda: store.customer(key),
        lambda: store.stream_events(key, after=0, limit=1),
        lambda: store.next_due_s("gatewayA"),
        lambda: store.queued_due(["gatewayA"], 1),
        lambda: store.relay_health("events"),
        lambda: store.claim_work(OWNER, "gatewayA", 5),
        lambda: store.release_dead(1e6),
        lambda: store.dead_letters("main", DeadLetterFilter(), before=None, limit=1),
        lambda: store.dead_letter("main", "t1"),
        store.gateway_modes,
        store.breakers,
        store.work_counts,
        store.stats,
        store.ping,
        lambda: list(iter_audit(store)),
    ]
    checkpointer = apsw.Connection(str(tmp_path / "var" / "payments.db"))
    for read in reads:
        read()
        (row,) = checkpointer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert row == (0, 0, 0)
    checkpointer.close()


def iter_audit(store: SqliteStore) -> Iterator[StreamKey]:
    """The streams of an audit."""
    with store.audit() as audit:
        yield from audit.streams()


def test_a_statement_is_planned_once(store: SqliteStore) -> None:
    """Other values of parameters do not parse and plan a statement again, which would take longer than most reads."""
    store.load(StreamKey("main", "customer-0"))
    planned: list[int] = []

    def plans(action: int, *_: object) -> int:
        planned.append(action)
        return apsw.SQLITE_OK

    with store._readers.cursor() as cursor:
        cursor.connection.authorizer = plans
    for number in range(9):
        store.load(StreamKey("main", f"customer-{number}"), [f"t{number}"])
    once = len(planned)
    for number in range(9):
        store.load(StreamKey("main", f"customer-{number}"), [f"t{number}"])
    assert planned.count(apsw.SQLITE_SELECT) > 0
    assert len(planned) == once


def test_readers_are_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all reading connections are in use a reader waits. It gets "unavailable" if none becomes free."""
    monkeypatch.setattr(connection_module, "_READER_WAIT_S", 0.001)
    readers = store._readers
    with readers.cursor(), readers.cursor(), readers.cursor():
        with readers.cursor(), pytest.raises(StoreUnavailableError, match="busy"):
            store.ping()
        store.ping()


def test_readers_cannot_write(store: SqliteStore) -> None:
    """A reading connection refuses every statement that changes something."""
    with pytest.raises(StoreUnavailableError), store._readers.cursor() as cursor:
        cursor.execute(SQL["upsert_owner"], ("x", 1, 1))


def test_a_closed_store_is_unavailable(store: SqliteStore) -> None:
    """After close, which may be repeated and may overlap reads, every call reports it."""
    with store._readers.cursor() as cursor:
        store.close()
        assert cursor.execute(SQL["ping"]).fetchall()
    store.close()
    for call in (store.ping, lambda: store.append([Customer().deposit("t2")]), lambda: store.heartbeat(OWNER)):
        with pytest.raises(StoreUnavailableError):
            call()


def test_reading_while_another_thread_writes(store: SqliteStore) -> None:
    """A reader neither waits for a writer's open transaction nor sees any of it."""
    inside, go_on = threading.Event(), threading.Event()

    def job(cursor: apsw.Cursor) -> None:
        cursor.execute(SQL["upsert_owner"], ("x", 1, 1))
        inside.set()
        go_on.wait()

    thread = threading.Thread(target=lambda: store._writer.run(job))
    thread.start()
    inside.wait()
    assert isinstance(store.load(StreamKey("main", "customer-1")), Snapshot)
    go_on.set()
    thread.join()


KINDS: dict[type[StoreError], set[str]] = {
    UnstorableError: {"ConstraintError", "MismatchError", "TooBigError", "RangeError"},
    CorruptStoreError: {"CorruptError", "NotADBError", "FormatError"},
    SchemaError: {"SQLError"},
}


@pytest.mark.parametrize("name", sorted(name for name in dir(apsw) if name.endswith("Error")))
def test_every_error_of_the_driver_is_translated(name: str) -> None:
    """Each error of apsw becomes one of the store's. Errors that do not concern data may be tried again."""
    kind = getattr(apsw, name)
    expected = next((ours for ours, names in KINDS.items() if name in names), StoreUnavailableError)
    error = translated(kind("text"))
    assert type(error) is expected
    assert str(error) == f"{name}: text"


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    """A file of another format is reported as corrupt, and is not changed."""
    (tmp_path / "payments.db").write_bytes(b"not a database" * 100)
    with pytest.raises(CorruptStoreError):
        SqliteStore(tmp_path / "payments.db", clock=Clock())


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/payments.db", "/checkout/var/payments.db"),
        ("sqlite:////var/lib/payments.db", "/var/lib/payments.db"),
        ("sqlite:///with%20space.db", "/checkout/with space.db"),
    ],
)
def test_urls(url: str, path: str) -> None:
    """Three slashes name a file of the checkout, four an absolute one."""
    assert backend_of(url, root=Path("/checkout")).file == Path(path)


@pytest.mark.parametrize(
    "url", ["", "sqlite", "sqlite://", "sqlite:///", "sqlite://var/x.db", "mysql:///x", "sqlite:///x?mode=ro", "x.db"]
)
def test_urls_without_a_store(tmp_path: Path, url: str) -> None:
    """Any other URL is refused with a text that shows the right form."""
    with pytest.raises(StoreError, match="must look like sqlite:///"):
        backend_of(url, root=tmp_path).open(clock=Clock())


def test_the_lock_and_the_audit_by_url(store: SqliteStore, tmp_path: Path) -> None:
    """The lock file is in the folder of the database, and an audit opens while a service holds the lock."""
    with backend_of(URL, root=tmp_path).lock(sleep=lambda _: None):
        assert (tmp_path / "var" / "payments.db.lock").exists()
        with backend_of(URL, root=tmp_path).audit() as audit:
            assert audit.head(StreamKey("main", "customer-1")) != Head()


@pytest.mark.parametrize(
    "text",
    [
        "\n-- name: a\nSELECT 1;\n",
        "\n-- name: a\n-- Sentence.\nSELECT 1\n",
        "\n-- name: a\n-- Sentence.\nSELECT 1; SELECT 2;\n",
        "\n-- name: a b\n-- Sentence.\nSELECT 1;\n",
        "\n-- name: a\n-- One.\nSELECT 1;\n\n-- name: a\n-- Two.\nSELECT 2;\n",
    ],
)
def test_a_malformed_file_of_queries(tmp_path: Path, text: str) -> None:
    """A query without a sentence, with two statements or with the name of another is refused when it is read."""
    (tmp_path / "queries.sql").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"queries\.sql"):
        load_queries(tmp_path / "queries.sql", DIALECT)
