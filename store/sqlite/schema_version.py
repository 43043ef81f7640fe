"""The version of a database's tables, which is SQLite's user_version, and the migrations that lead to it.

Migrations are the files ``migrations/NNNN_title.sql``; the number of the last one applied is the version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from store.errors import SchemaError

_FOLDER: Final = Path(__file__).with_name("migrations")


def migrations(folder: Path = _FOLDER) -> dict[int, str]:
    """The scripts by their numbers, which are 1, 2, 3 and so on."""
    scripts = {int(file.name[:4]): file.read_text(encoding="utf-8") for file in sorted(folder.glob("[0-9]*.sql"))}
    if list(scripts) != list(range(1, len(scripts) + 1)):
        raise SchemaError(f"the migrations in {folder.name} are not numbered 1, 2, 3 and so on: {list(scripts)}")
    return scripts


def version_of(connection: apsw.Connection, scripts: dict[int, str]) -> int:
    """The version of the tables. Raises SchemaError when it is newer than the scripts."""
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > len(scripts):
        raise SchemaError(f"the database is at schema version {version}, newer than this service's {len(scripts)}")
    return version


def check_schema(connection: apsw.Connection) -> None:
    """Raise SchemaError unless the database has exactly the tables of this version."""
    scripts = migrations()
    version = version_of(connection, scripts)
    if version < len(scripts):
        raise SchemaError(f"the database is at schema version {version}, this service needs {len(scripts)}: migrate")
