"""The rows of all tables of a store, for tests that assert that nothing has changed."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import apsw
import psycopg
from psycopg import sql

_PULSE: Final = frozenset({"owners"})
"""Tables that change only because a service runs."""


def everything(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table with payment data, in a stable order."""
    rows = _of_postgresql(database_url) if database_url.startswith("postgresql") else _of_sqlite(database_url)
    return {table: sorted(of_table, key=repr) for table, of_table in rows.items() if table not in _PULSE}


def _of_sqlite(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    with closing(apsw.Connection(database_url.removeprefix("sqlite:///"), flags=apsw.SQLITE_OPEN_READONLY)) as file:
        file.set_busy_timeout(5_000)
        file.execute("BEGIN")
        tables = [str(name) for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: [*file.execute(f'SELECT * FROM "{table}"')] for table in tables}  # noqa: S608


def _of_postgresql(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        return {
            name: connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, name))).fetchall()
            for schema, name in found
        }
