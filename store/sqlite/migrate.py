"""Brings a file's tables to the version that this service needs. Names no table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import apsw

from store.errors import StoreUnavailableError
from store.sqlite.command_connections import check_service_files, keep_log
from store.sqlite.connection import BUSY_TIMEOUT_MS
from store.sqlite.failures import translation
from store.sqlite.lock import refuse_to_begin_empty
from store.sqlite.schema_version import migrations, version_of

_WAL_AGAIN_S: Final = 0.02


def migrate(path: Path, scripts: dict[int, str] | None = None) -> list[int]:
    """Create the file if it is missing, and apply the missing scripts, each in one transaction.

    Returns the numbers applied. Concurrent calls are safe: one waits for the other. Raises SchemaError for a file of a
    newer version. Raises StoreUnavailableError when the file is missing, or is not the one that a service has open.
    """
    scripts = migrations() if scripts is None else scripts
    refuse_to_begin_empty(path)
    if path.exists():
        check_service_files(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
    applied: list[int] = []
    with translation(path):
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            _use_wal(connection)
            keep_log(connection)
            for number, script in scripts.items():
                connection.execute("BEGIN IMMEDIATE")
                try:
                    if version_of(connection, scripts) < number:
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
    """Try again while another connection does the same: SQLite does not wait in this case."""
    for wait_s in (*[_WAL_AGAIN_S] * (BUSY_TIMEOUT_MS // round(1000 * _WAL_AGAIN_S)), None):
        try:
            connection.pragma("journal_mode", "WAL")
        except apsw.BusyError:
            if wait_s is None:
                raise
            time.sleep(wait_s)
        else:
            return
