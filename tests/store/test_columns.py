"""The lists of columns: both databases have exactly these columns, and code and SQL are made of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from domain.account import Failure, Status
from domain.events import Kind
from domain.outcomes import Category
from store.columns import TABLES, TRANSACTIONS, Column, Nested, Table, Type
from store.dialect import Dialect
from store.errors import CorruptStoreError
from store.postgresql import rows as postgresql
from store.row_code import Members, compile_reader, compile_row_writer
from store.sqlite import rows as sqlite
from store.sqlite.migrate import migrate
from tests.store.builders import START, Customer
from tests.store.postgresql_server import Schema

DIALECTS = [sqlite.DIALECT, postgresql.DIALECT]
NOT_READ = {"work": {"owner"}}
"""Columns of the tables from which no row is read."""


@dataclass(frozen=True)
class Pair:
    """Something with a nested object."""

    name: str
    inner: Failure | None


def column(name: str, path: str | None = None, **more: Any) -> Column:
    """A column of text."""
    return Column(name=name, type=Type.TEXT, path=name if path is None else path, **more)


@pytest.mark.parametrize("table", TABLES)
def test_both_databases_have_these_columns(tmp_path: Path, schema: Schema, table: str) -> None:
    """A column that is in a table and not in its list would be neither written nor read."""
    declared = set(TABLES[table].names) | NOT_READ.get(table, set())
    migrate(tmp_path / "payments.db")
    connection = apsw.Connection(str(tmp_path / "payments.db"))
    assert {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")} == declared
    connection.close()
    names = schema.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        (schema.name, table),
    )
    assert {str(name) for (name,) in names} == declared


def test_a_row_is_read_as_it_was_written() -> None:
    """Every field of a transaction is read back, those of absent nested objects as well."""
    customer = Customer()
    (received,) = customer.deposit("t1").transactions
    for transaction in (
        received,
        replace(received, details={}, gateway_reference="A-1", submissions=3, reserved=True, kind=Kind.WITHDRAWAL),
        replace(received, status=Status.FAILED, failure=Failure("do_not_honor", Category.HARD, "no")),
        replace(received, status=Status.FAILED, failure=Failure("discarded", None, "")),
    ):
        values = sqlite.transaction_values(*customer.stream, transaction)
        assert sqlite.transaction_of(values) == transaction
        record = postgresql.transaction_values(0, *customer.stream, transaction)
        assert record.pop("write") == 0
        assert tuple(record) == TRANSACTIONS.names
        assert postgresql.transaction_of(tuple(record.values())) == transaction


def test_a_row_that_cannot_be_read_is_named() -> None:
    """The error has the table's word for the row, its id and the reason."""
    (transaction,) = Customer().deposit("t1").transactions
    values = dict(zip(TRANSACTIONS.names, sqlite.transaction_values("main", "c", transaction), strict=True))
    for name, value, reason in (
        ("status", "odd", "'odd' is not a valid Status"),
        ("details", "{", "unexpected end of data"),
        ("created_at", 1 << 62, "date value out of range"),
    ):
        with pytest.raises(CorruptStoreError, match=f"the row of transaction 't1' cannot be read: .*{reason}"):
            sqlite.transaction_of(tuple((values | {name: value}).values()))


def test_a_column_and_a_field_belong_together() -> None:
    """A field without a column and a column without a field are refused when the functions are made."""
    nested = {"inner": Nested(Failure, optional=True)}
    inner = (column("code", "inner.code"), column("category", "inner.category"), column("message", "inner.message"))
    table = Table("pairs", "pair", Pair, (column("name"), *inner), nested)
    assert compile_reader(table, {})(("n", None, None, None)) == Pair("n", None)
    assert compile_reader(table, {})(("n", "c", None, "m")) == Pair("n", Failure("c", None, "m"))
    assert compile_row_writer(table, {})("s", "i", Pair("n", None)) == ("n", None, None, None)
    with pytest.raises(ValueError, match=r"no column is declared for the field inner\.message"):
        compile_reader(replace(table, columns=table.columns[:-1]), {})
    with pytest.raises(ValueError, match=r"Pair has no fields \['other'\]"):
        compile_reader(replace(table, columns=(*table.columns, column("other"))), {})


def test_null_is_none() -> None:
    """A conversion of a column that may be NULL receives no NULL."""
    category = column("category", nullable=True, read=str.upper, write=str.lower)
    table = Table("failures", "failure", Failure, (column("code"), category, column("message")))
    read, write = compile_reader(table, {}), compile_row_writer(table, {})
    assert read(("c", None, "m")) == Failure("c", None, "m")
    assert write("s", "i", Failure("c", None, "m")) == ("c", None, "m")
    assert read(("c", "x", "m")).category == "X"


def test_members_of_an_enumeration() -> None:
    """Values are looked up, and an unknown one is the enumeration's own error."""
    members = Members(Status)
    assert members["failed"] is Status.FAILED
    with pytest.raises(ValueError, match="'odd' is not a valid Status"):
        members["odd"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_placeholders(dialect: Dialect) -> None:
    """A list names all columns in their order; changes are those that an update replaces, and a fragment is text."""
    names = ", ".join(TRANSACTIONS.names)
    assert dialect.expand("a {names of transactions} b {it}", {"it": "x"}) == f"a {names} b x"
    assert dialect.expand("{names of work as w}").startswith("w.work_id, w.token, ")
    changes = "{changes of reviews}"
    assert dialect.expand(changes) == "state = excluded.state, closed_at = excluded.closed_at"
    for unknown in ("{it}", "{names of nothing}", "{nothing of work}"):
        with pytest.raises(ValueError, match="is unknown"):
            dialect.expand(unknown)
    assert dialect.expand("'{}' {a b}") == "'{}' {a b}", "braces that are no placeholder stay"


def test_the_lists_of_each_dialect() -> None:
    """SQLite reads the items of arrays, PostgreSQL typed records; a value of an earlier process has its default."""
    assert sqlite.DIALECT.expand("{items of reviews}").startswith("value ->> 0, value ->> 1, ")
    assert "CAST(w.errors AS BLOB) AS errors" in sqlite.DIALECT.expand("{columns of work as w}")
    record = postgresql.DIALECT.expand("{record of transactions}")
    assert "amount_minor bigint, currency text, details text" in record
    assert "n.details::json" in postgresql.DIALECT.expand("{items of transactions}")
    later = column("channel", absent="'web'")
    assert postgresql.DIALECT.item(0, later) == "coalesce(n.channel, 'web')"
    assert sqlite.DIALECT.item(3, later) == "value ->> 3"


def test_times_are_exact() -> None:
    """A time is unchanged after its conversion to microseconds and back."""
    assert sqlite.from_us(sqlite.to_us(START)) == START
