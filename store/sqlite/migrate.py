"""Brings a file's tables to the version that this service needs. Names no table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import apsw

from store.errors import CorruptStoreError, StoreInUseError, StoreUnavailableError
from store.sqlite.command_connections import check_service_files, keep_log
from store.sqlite.connection import BUSY_TIMEOUT_MS
from store.sqlite.failures import translation
from store.sqlite.files import close_unused, is_locked_elsewhere
from store.sqlite.lock import holder, refuse_to_begin_empty
from store.sqlite.schema_version import migrations, version_of

_WAL_AGAIN_S: Final = 0.02


def migrate(path: Path, scripts: dict[int, str] | None = None) -> list[int]:
    """Create the file if it is missing, and apply the missing scripts, each in one transaction.

    Returns the numbers applied. Concurrent calls are safe: one waits for the other. Raises SchemaError for a file of a
    newer version, StoreUnavailableError when the file is not the one that a service has open, StoreInUseError when a
    script is missing and another process has the lock, and CorruptStoreError for a row that a script cannot keep.
    """
    scripts = migrations() if scripts is None else scripts
    refuse_to_begin_empty(path)
    if path.exists():
        check_service_files(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
    with translation(path):
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            _use_wal(connection)
            keep_log(connection)
            return [number for number in scripts if _apply(connection, path, number, scripts)]
        finally:
            connection.close()
            close_unused()


def _apply(connection: apsw.Connection, path: Path, number: int, scripts: dict[int, str]) -> bool:
    """Apply the script of this number in one transaction, unless the database has it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        is_missing = version_of(connection, scripts) < number
        if is_missing:
            # A service that starts from now on waits for this transaction, because it migrates first.
            _refuse_beside_a_service(path)
            _run(connection, path, number, scripts[number])
            connection.pragma("user_version", number)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return is_missing


def _refuse_beside_a_service(path: Path) -> None:
    """Raise StoreInUseError while a service works on the file: it would fail on the changed tables."""
    try:
        is_in_use = is_locked_elsewhere(path)
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error.strerror}") from error
    if is_in_use:
        remedy = "stop it; a service of this version migrates the database at its start"
        raise StoreInUseError(f"{holder(path)} works on {path.name}: {remedy}")


def _run(connection: apsw.Connection, path: Path, number: int, script: str) -> None:
    """Run a script. It may call ``refuse(stream_name, stream_id, problem)`` for a row that it cannot keep."""

    def refuse(*row: object) -> None:
        stream_name, stream_id, problem = row
        raise CorruptStoreError(_damage(path, number, f"{stream_name}/{stream_id} {problem}"))

    connection.create_scalar_function("refuse", refuse, 3)
    try:
        connection.execute(script)
    except apsw.ConstraintError as error:  # it copied a row that the service cannot have written
        raise CorruptStoreError(_damage(path, number, f"a row is damaged ({error})")) from error


def _damage(path: Path, number: int, problem: str) -> str:
    remedy = f"the database stays at version {number - 1}; examine it with `manage.py verify` of the version before"
    return f"{path}: {problem}: {remedy}"


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
