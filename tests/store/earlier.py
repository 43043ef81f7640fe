"""SQLite databases of earlier versions, made from one of this version."""
# ruff: noqa: S608 - the statements are this file's own

from __future__ import annotations

from pathlib import Path

import apsw

from store.sqlite.migrate import migrate
from store.sqlite.schema_version import migrations
from tests.store.tampering import fill

KEPT = {"generations"}
"""Tables that a migration fills itself."""


def as_of(newer: Path, older: Path, version: int = 1) -> None:
    """Make ``older`` a database of this version with all rows of ``newer`` that such a version can hold."""
    migrate(older, {number: script for number, script in migrations().items() if number <= version})
    connection = apsw.Connection(str(older))
    connection.execute("ATTACH ? AS newer", (str(newer),))
    tables = {str(row[0]) for row in connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")}
    for table in sorted(tables - KEPT):
        columns = ", ".join(str(row[1]) for row in connection.execute(f"PRAGMA main.table_info({table})"))
        connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
    connection.close()


def before_heads(path: Path, *edits: str) -> None:
    """Make the database of ``tampering.fill`` in version 9, and edit it as a shell could: without triggers, checks."""
    newer = path.with_name("newer.db")
    fill(newer)
    as_of(newer, path, 9)
    connection = apsw.Connection(str(path))
    connection.pragma("ignore_check_constraints", 1)
    kept = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in kept:
        connection.execute(f"DROP TRIGGER {name}")
    for edit in edits:
        connection.execute(edit)
    for _, sql in kept:
        connection.execute(str(sql))
    connection.close()


def everything(path: Path) -> dict[str, object]:
    """All tables with all rows, and the version."""
    connection = apsw.Connection(str(path))
    schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    found: dict[str, object] = {"schema": schema, "version": connection.pragma("user_version")}
    for kind, name, _ in schema:
        if kind == "table":
            found[str(name)] = connection.execute(f"SELECT * FROM {name}").fetchall()
    connection.close()
    return found
