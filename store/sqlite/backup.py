"""Copy a database into one file, while a service may be running. It uses no tables.

SQLite's online backup copies page by page from one snapshot. The service continues to commit: a reader blocks no
writer. Only the log grows, since it cannot be reset before the snapshot ends. VACUUM INTO would hold the snapshot for
longer, because it rebuilds every table and index.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import apsw

from store.errors import StoreError, StoreUnavailableError
from store.sqlite.command_connections import reading
from store.sqlite.failures import translation

_PAGES: Final = 2_000
"""Pages per step. Between steps Ctrl-C is handled."""


def copy(path: Path, target: Path) -> None:
    """Copy the present database to ``target``, which must not exist.

    The copy is on disk when this returns. Raises StoreError, also when the database itself is an earlier copy without
    its log.
    """
    with reading(path) as (source, missing):
        if missing is not None:
            raise StoreUnavailableError(missing)
        source.execute("BEGIN")
        source.pragma("user_version")  # the snapshot begins with the first read
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreError(f"{target} cannot be made: {error.strerror}") from error
        with translation(target):
            _copy(source, target)
    try:
        _sync(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target} cannot be synced: {error.strerror}") from error


def _copy(source: apsw.Connection, target: Path) -> None:
    connection = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.pragma("synchronous", "OFF")  # no reader needs the copy before it is synced as a whole
        with connection.backup("main", source, "main") as backup:
            while not backup.step(_PAGES):
                pass
        # A single file without a log, which is readable even on read-only media.
        connection.pragma("journal_mode", "DELETE")
        connection.pragma("application_id", 0)  # no service has the copy open
        found = connection.execute("PRAGMA integrity_check(1)").get
        if found != "ok":
            raise apsw.CorruptError(f"the copy is not sound: {' '.join(str(found).split())}")
    finally:
        connection.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
