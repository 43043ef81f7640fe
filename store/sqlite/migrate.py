"""Brings a file's tables to the version that this service needs, and says whether they are. Knows no table itself.

Migrations are the files ``migrations/NNNN_title.sql``; the number of the last one applied is SQLite's user_version.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import apsw

from store.errors import SchemaError, StoreUnavailableError
from store.sqlite.connection import BUSY_TIMEOUT_MS
from store.sqlite.failures import translation

_FOLDER: Final = Path(__file__).with_name("migrations")
_WAL_AGAIN_S: Final = 0.02


def migrations(folder: Path = _FOLDER) -> dict[int, str]:
    """The scripts by their numbers, which are 1, 2, 3 and so on."""
    scripts = {int(file.name[:4]): file.read_text(encoding="utf-8") for file in sorted(folder.glob("[0-9]*.sql"))}
    if list(scripts) != list(range(1, len(scripts) + 1)):
        raise SchemaError(f"the migrations in {folder.name} are not numbered 1, 2, 3 and so on: {list(scripts)}")
    return scripts


def migrate(path: Path, scripts: dict[int, str] | None = None) -> list[int]:
    """Make the file if need be and apply what is missing, each script in one transaction; the numbers applied.

    Two that do this at once are safe: one waits for the other. Raises SchemaError for a file of a newer version.
    """
    scripts = migrations() if scripts is None else scripts
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
    applied: list[int] = []
    with translation():
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            _use_wal(connection)
            for number, script in scripts.items():
                connection.execute("BEGIN IMMEDIATE")
                try:
                    if _refuse_newer(connection, scripts) < number:
                        connection.execute(script)
                        connection.pragma("user_version", number)
                        applied.append(number)
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        finally:
            connection.close()
    return applied


def _use_wal(connection: apsw.Connection) -> None:
    """SQLite does not wait for another connection that is about to do the same: it says busy at once."""
    for wait_s in (*[_WAL_AGAIN_S] * (BUSY_TIMEOUT_MS // round(1000 * _WAL_AGAIN_S)), None):
        try:
            connection.pragma("journal_mode", "WAL")
        except apsw.BusyError:
            if wait_s is None:
                raise
            time.sleep(wait_s)
        else:
            return


def check_schema(path: Path) -> None:
    """Raises SchemaError unless the file has exactly the tables of this version, StoreUnavailableError without one."""
    if not path.exists():
        raise StoreUnavailableError(f"there is no database {path.name}: migrate first")
    scripts = migrations()
    with translation():
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            version = _refuse_newer(connection, scripts)
        finally:
            connection.close()
    if version < len(scripts):
        raise SchemaError(f"the database is at schema version {version}, this service needs {len(scripts)}: migrate")


def _refuse_newer(connection: apsw.Connection, scripts: dict[int, str]) -> int:
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > len(scripts):
        raise SchemaError(f"the database is at schema version {version}, newer than this service's {len(scripts)}")
    return version
