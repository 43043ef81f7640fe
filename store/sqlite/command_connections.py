"""Connections of commands, which may run while a service runs, and on read-only files.

A command opens a database by its path, like the service. Both must use the same log, or each would write its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import apsw

from store.errors import StoreUnavailableError
from store.sqlite.connection import BUSY_TIMEOUT_MS, IN_USE, open_reader, open_writer
from store.sqlite.failures import translation
from store.sqlite.files import has_moved, is_locked_elsewhere, require_one_name
from store.sqlite.lock import holder, is_lock_file_locked
from store.sqlite.schema_version import check_schema

_LOOK_AGAIN_S: Final = 0.05
_LOOKS: Final = 60
"""Repeated because a starting service takes the lock before it creates its log."""


class Reading(NamedTuple):
    """A connection that only reads, and evidence that its file is incomplete."""

    connection: apsw.Connection
    missing: str | None


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    """A connection that only reads, with the tables of this version. Raises StoreError.

    If neither this process nor a service can write, SQLite opens the file as immutable. If the file changes anyway,
    StoreUnavailableError is raised at the end of the block.
    """
    check_service_files(path)
    before = _state(path)
    with translation(path):
        connection, is_live = _open(path)
        try:
            _require_same(path, connection)
            check_schema(connection)
            is_torn = not before.log_size and connection.pragma("application_id") == IN_USE
            yield Reading(connection, no_log_text(path) if is_torn and not is_locked_elsewhere(path) else None)
            if not is_live and _state(path) != before:
                raise StoreUnavailableError(f"{path} was changed while it was read: begin again")
        finally:
            connection.close()


@contextmanager
def writing(path: Path) -> Iterator[apsw.Connection]:
    """A connection that waits for the lock to write. Raises StoreError."""
    check_service_files(path)
    connection = open_writer(path, "FULL", None)
    try:
        _require_same(path, connection)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        keep_log(connection)
        yield connection
    finally:
        connection.close()


def check_service_files(path: Path) -> None:
    """Raise StoreUnavailableError unless the files at ``path`` are those that a running service has open.

    Through a hard link, or a bind mount of the file alone, SQLite would use another log than the service.
    """
    require_one_name(path)
    try:
        if not is_locked_elsewhere(path):
            return
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error.strerror}") from error
    if not is_lock_file_locked(path):
        raise StoreUnavailableError(
            f"a process works on {path} by another name, or its lock file was removed: use that name, or restart it"
        )
    base = path.resolve()
    for suffix in ("-wal", "-shm"):
        file = base.with_name(base.name + suffix)
        for _ in range(_LOOKS):
            if file.exists() or not is_locked_elsewhere(path):
                break
            time.sleep(_LOOK_AGAIN_S)
        else:
            raise StoreUnavailableError(f"{holder(path)} has locked {path}, but {file} is not there: restart it")


def keep_log(connection: apsw.Connection) -> None:
    """Keep the log of a dead service: the next one needs it, and without it the file would look like a copy."""
    if connection.pragma("application_id") == IN_USE:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def has_log(path: Path) -> bool:
    """Whether there is a log beside the file that is not empty."""
    return _size_of(path, "-wal") > 0


def no_log_text(path: Path) -> str:
    """The error text for a file that was in use and has no log."""
    return (
        f"a service had {path.name} open, or died with it, and {path.name}-wal is not beside it: what was written last"
        " is missing in a copy like that (manage.py backup makes whole ones)"
    )


class _State(NamedTuple):
    file: tuple[int, ...]
    log_size: int


def _state(path: Path) -> _State:
    """Values that change with every write to the database. Raises StoreUnavailableError."""
    try:
        found = path.stat()
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error.strerror}") from error
    return _State((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns), _size_of(path, "-wal"))


def _size_of(path: Path, suffix: str) -> int:
    """The size of a file beside the database, 0 when there is none."""
    base = path.resolve()
    try:
        return base.with_name(f"{base.name}{suffix}").stat().st_size
    except OSError:
        return 0


def _open(path: Path) -> tuple[apsw.Connection, bool]:
    """A reading connection, and whether it sees the writes of others."""
    try:
        return open_reader(path), True
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        # SQLite creates files beside the database even to read it. Where it cannot, the ways below work if no
        # process writes: a running service would have created the files.
        if os.access(path.resolve().parent, os.W_OK, effective_ids=True) or is_locked_elsewhere(path):
            raise
        if _size_of(path, "-journal"):
            raise  # a transaction to roll back, which needs a writer
    if _state(path).log_size:
        return open_reader(path, vfs="unix-none"), False
    return open_reader(path, how=f"file:{quote(str(path.absolute()))}?immutable=1"), False


def _require_same(path: Path, connection: apsw.Connection) -> None:
    if has_moved(connection):
        raise StoreUnavailableError(f"{path} was replaced while it was opened: begin again")
