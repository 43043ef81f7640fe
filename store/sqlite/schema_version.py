"""The version of a database's tables, which is SQLite's user_version."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from store.schema_versions import read_migrations, refuse_newer, refuse_older

_FOLDER: Final = Path(__file__).with_name("migrations")


def migrations() -> dict[int, str]:
    """Return the scripts by their numbers. Raises SchemaError unless these are 1, 2, 3 and so on."""
    return read_migrations(_FOLDER)


def version_of(connection: apsw.Connection, scripts: dict[int, str]) -> int:
    """Return the version of the tables. Raises SchemaError when it is newer than the scripts."""
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    refuse_newer(version, scripts)
    return version


def check_schema(connection: apsw.Connection) -> None:
    """Raise SchemaError unless the database has exactly the tables of this version."""
    scripts = migrations()
    refuse_older(version_of(connection, scripts), scripts)
