"""The correlation ids of transactions that processes of earlier versions stored, before and beside this version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from domain.events import Kind
from store.columns import TRANSACTIONS
from store.port import Committed
from store.postgresql import arrays, batch
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.flat_rows import _ARRAYS, _of
from store.postgresql.migrate import migrate as migrate_postgresql
from store.postgresql.migrate import migrations as postgresql_migrations
from store.postgresql.rows import DIALECT, transaction_values
from store.queries import TransactionFilter
from store.row_code import compile_flat_writer
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate as migrate_sqlite
from store.sqlite.schema_version import migrations as sqlite_migrations
from store.verify import verify
from tests.store.builders import Clock, Customer, Step, complete, deposit, open_work, received
from tests.store.earlier import as_of as as_of_sqlite
from tests.store.postgresql_server import Schema, new_schema
from tests.store.templates import new_sqlite
from tests.store.test_postgresql_functions import as_of as as_of_postgresql

BEFORE: Final = {"sqlite": 7, "postgresql": 12}
"""The versions of the tables without correlation ids."""
DAMAGED: Final = (
    b"",
    b"{",
    b"\xff",
    b"[1]",
    b"{}",
    b"\x00",
    b'{"data": {"transaction_id": "\\u0000"}, "metadata": {"correlation_id": "\\u0000"}}',
)
"""Bytes of events that cannot be read."""
COLUMNS: Final = (
    "correlation_id",
    "manual_capture",
    "parent_id",
    "parent_reference",
    "reason",
    "captured_minor",
    "refunded_minor",
    "refunding_minor",
    "ended_by",
    "authorization_expires_at",
)
"""The columns that an earlier version does not have."""


def writers() -> list[Customer]:
    """Two customers with the same names at two merchants, each with correlation ids of its own."""
    found = []
    for merchant in ("main", "other"):
        customer = Customer("a", merchant)
        customer.correlation_id = f"request of {merchant}"
        found.append(customer)
    return found


def fill(store: SqliteStore | PostgresqlStore) -> dict[str, str | None]:
    """Store deposits and a withdrawal; their correlation ids."""
    expected: dict[str, str | None] = {}
    for customer in writers():
        name = customer.stream.name
        keys = [f"{name}-{number}" for number in range(3)]
        for key in keys[:2]:
            assert store.append([customer.write(deposit(key))]) == [Committed()]
        withdrawal = received(keys[2], 1, kind=Kind.WITHDRAWAL, reserved=True)
        assert store.append([customer.write(complete(keys[0]))]) == [Committed()]
        customer.correlation_id = "another request"
        last = [Step((withdrawal,), work=(open_work(keys[2]),)), complete(keys[1])]
        assert store.append([customer.write(*last)]) == [Committed()]
        expected |= {keys[0]: f"request of {name}", keys[1]: f"request of {name}", keys[2]: "another request"}
    return expected


def ids(store: SqliteStore | PostgresqlStore) -> dict[str, str | None]:
    """The correlation ids of all transactions."""
    views = [
        view
        for merchant in ("main", "other")
        for view in store.transactions(merchant, TransactionFilter(), before=None, limit=100)
    ]
    return {view.transaction.transaction_id: view.transaction.correlation_id for view in views}


@pytest.fixture
def schemas(postgresql_url: str) -> Iterator[tuple[Schema, Schema]]:
    """Two schemas without tables."""
    with new_schema(postgresql_url) as newer, new_schema(postgresql_url) as older:
        yield newer, older


def test_a_migration_reads_them_from_the_events_on_sqlite(tmp_path: Path) -> None:
    """Also beside events that cannot be read, which an audit reports as before."""
    newer, older = tmp_path / "newer.db", tmp_path / "older.db"
    new_sqlite(newer)
    store = SqliteStore(newer, clock=Clock())
    expected = fill(store)
    store.close()
    as_of_sqlite(newer, older, BEFORE["sqlite"])
    connection = apsw.Connection(str(older))
    for number, body in enumerate(DAMAGED):
        connection.execute(
            "INSERT INTO events (stream_name, stream_id, version, event_id, type, body, hash)"
            " VALUES ('main', 'damaged', ?, ?, 'DepositReceived', ?, zeroblob(32))",
            (number + 1, f"d{number}", body),
        )
    connection.close()
    assert migrate_sqlite(older) == list(sqlite_migrations())[BEFORE["sqlite"] :]
    store = SqliteStore(older, clock=Clock())
    assert ids(store) == expected
    with store.audit() as audit:
        assert {problem.stream.id for problem in verify(audit) if problem.stream is not None} == {"damaged"}
    store.close()


def test_a_migration_reads_them_from_the_events_on_postgresql(schemas: tuple[Schema, Schema]) -> None:
    """Also beside events that cannot be read, which an audit reports as before."""
    newer, older = schemas
    migrate_postgresql(newer.conninfo(owner=True))
    store = PostgresqlStore(newer.conninfo(owner=True))
    expected = fill(store)
    store.close()
    as_of_postgresql(newer, older, BEFORE["postgresql"])
    for number, body in enumerate(DAMAGED):
        older.execute(
            "INSERT INTO events (stream_name, stream_id, version, event_id, type, body, hash)"
            " VALUES ('main', 'damaged', %s, %s, 'DepositReceived', %s, decode(repeat('00', 32), 'hex'))",
            (number + 1, f"d{number}", body),
        )
    url = older.conninfo(owner=True)
    assert migrate_postgresql(url) == (list(postgresql_migrations())[BEFORE["postgresql"] :], True)
    store = PostgresqlStore(url)
    assert ids(store) == expected
    with store.audit() as audit:
        assert {problem.stream.id for problem in verify(audit) if problem.stream is not None} == {"damaged"}
    store.close()


@pytest.mark.parametrize("from_arrays", [False, True])
def test_rows_of_an_earlier_version_beside_this_one(
    shared_store: PostgresqlStore, schema: Schema, monkeypatch: pytest.MonkeyPatch, *, from_arrays: bool
) -> None:
    """A process of an earlier version names none of the new columns: its rows get them, and pass an audit."""
    if from_arrays:
        columns = [[one for one in _of(types) if one.name not in COLUMNS] for types in _ARRAYS.values()]
        monkeypatch.setattr(arrays, "add_transaction", compile_flat_writer(TRANSACTIONS, DIALECT.write, columns))
    else:
        write = transaction_values

        def of_earlier(number: int, *rest: Any) -> dict[str, object]:
            return {name: value for name, value in write(number, *rest).items() if name not in COLUMNS}

        monkeypatch.setattr(batch, "transaction_values", of_earlier)
        monkeypatch.setattr(arrays.AppendArrays, "complete", False)
    expected = fill(shared_store) | fill_together(shared_store)
    assert ids(shared_store) == expected
    with shared_store.audit() as audit:
        assert list(verify(audit)) == []
    rows = "SELECT count(*) FROM transactions WHERE correlation_id IS NULL OR manual_capture OR parent_id IS NOT NULL"
    assert schema.execute(rows) == [(0,)]


def fill_together(store: PostgresqlStore) -> dict[str, str | None]:
    """Store three deposits, and complete them, each time in one batch; their correlation ids."""
    expected: dict[str, str | None] = {}
    together = [Customer(f"together-{number}") for number in range(3)]
    for customer in together:
        customer.correlation_id = f"request of {customer.stream.id}"
        expected[f"of {customer.stream.id}"] = customer.correlation_id
    for step in (deposit, complete):
        writes = [customer.write(step(f"of {customer.stream.id}")) for customer in together]
        assert store.append(writes) == [Committed()] * 3
    return expected
