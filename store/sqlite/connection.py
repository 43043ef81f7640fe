"""Opens connections, and shares the reading ones between callers. It sets pragmas and names no tables."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from store.errors import StoreUnavailableError
from store.sqlite.failures import translation
from store.sqlite.files import require_one_name
from store.sqlite.schema_version import check_schema

SYNCHRONOUS: Final = frozenset({"OFF", "NORMAL", "FULL", "EXTRA"})
BUSY_TIMEOUT_MS: Final = 5_000
"""How long a statement waits for another process that writes (a migration, a shell)."""

_WRITER_CACHE_KIB: Final = 16_384
"""Holds the inner pages of the indexes, and what the largest batch changes. With a million customers, 64 MiB saves no
time: nearly every leaf page is another one."""
_READER_CACHE_KIB: Final = 2_048
"""A connection that reads drops its cache after each commit of the writing one, so a larger cache is seldom filled."""
_CHECKPOINT_PAGES: Final = 4_000
_WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_READER_WAIT_S: Final = 5.0


IN_USE: Final = 0x50415955
"""SQLite's application_id of a file that a service has open, or had open when it died. Such a file needs its log."""


def open_writer(path: Path, synchronous: str, vfs: str | None) -> apsw.Connection:
    """Open the connection that writes; it never waits for locks by itself.

    Raises StoreError: SchemaError unless the file has the tables of this version, and StoreUnavailableError when it
    cannot be written.
    """
    if synchronous not in SYNCHRONOUS:
        raise ValueError(f"synchronous must be one of {sorted(SYNCHRONOUS)}")
    require_one_name(path)
    with translation(path):
        connection = _open(path, apsw.SQLITE_OPEN_READWRITE, vfs)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            _require_writable(connection)
            check_schema(connection)
            _set_up_writer(connection, synchronous)
        except BaseException:
            connection.close()
            raise
    return connection


def _require_writable(connection: apsw.Connection) -> None:
    """SQLite silently opens a file read-only if it may not write to it."""
    if connection.readonly("main"):
        raise apsw.ReadOnlyError("the file cannot be written")


def _set_up_writer(connection: apsw.Connection, synchronous: str) -> None:
    connection.pragma("journal_mode", "WAL")
    connection.pragma("synchronous", synchronous)
    connection.pragma("cache_size", -_WRITER_CACHE_KIB)
    connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
    connection.pragma("journal_size_limit", _WAL_LIMIT_BYTES)
    connection.pragma("user_version")  # opens the log in any case
    connection.set_busy_timeout(0)


def open_reader(path: Path, *, how: str | None = None, vfs: str | None = None) -> apsw.Connection:
    """Open a connection that can only read, and read once. The file must exist. ``how`` is a URI in place of the path.

    Raises apsw.Error.
    """
    flags = apsw.SQLITE_OPEN_READONLY | (apsw.SQLITE_OPEN_URI if how else 0)
    connection = _open(how or path, flags, vfs)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        if vfs is not None:
            connection.pragma("locking_mode", "EXCLUSIVE")  # so that the index of the log needs no file
        connection.pragma("cache_size", -_READER_CACHE_KIB)
        connection.pragma("user_version")  # opens the log
    except BaseException:
        connection.close()
        raise
    return connection


def _open(path: Path | str, flags: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    # Without it, a cached statement with ORDER BY is planned again for each new value of its parameters.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


class Readers:
    """At most ``count`` reading connections, opened when first needed, each used by one caller at a time."""

    def __init__(self, open_one: Callable[[], apsw.Connection], count: int, check: Callable[[], None]) -> None:
        """``check`` is called before each use, and raises StoreError when reads would be outdated."""
        self._open_one = open_one
        self._check = check
        self._closed = False
        self._idle: queue.LifoQueue[apsw.Connection | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)

    @contextmanager
    def cursor(self) -> Iterator[apsw.Cursor]:
        """A cursor for single statements. Raises StoreError, also when no connection becomes free."""
        try:
            connection = self._idle.get(timeout=_READER_WAIT_S)
        except queue.Empty:
            raise StoreUnavailableError("all reading connections are busy") from None
        try:
            if self._closed:
                raise StoreUnavailableError("the store is closed")
            self._check()
            with translation():
                if connection is None:
                    connection = self._open_one()
                cursor = connection.cursor()
                try:
                    yield cursor
                finally:
                    cursor.close()  # a partly read statement would keep its snapshot, and the log since then
        finally:
            if self._closed and connection is not None:
                connection.close()
                connection = None
            self._idle.put(connection)

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Cursor]:
        """A cursor all of whose statements see one state of the database."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor
            finally:
                cursor.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are returned."""
        self._closed = True
        for _ in range(self._idle.qsize()):
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return
            if connection is not None:
                connection.close()
            self._idle.put(None)
