"""Opening connections and taking turns on the readers. Knows pragmas, no tables."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from store.errors import StoreUnavailableError
from store.sqlite.failures import translation

SYNCHRONOUS: Final = frozenset({"OFF", "NORMAL", "FULL", "EXTRA"})
BUSY_TIMEOUT_MS: Final = 5_000
"""How long a statement waits for another process that writes (a migration, a shell)."""

_WRITER_CACHE_KIB: Final = 65_536
_READER_CACHE_KIB: Final = 8_192
_CHECKPOINT_PAGES: Final = 4_000
_WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_READER_WAIT_S: Final = 5.0


def open_writer(path: Path, synchronous: str, vfs: str | None) -> apsw.Connection:
    """The connection that writes; it never waits for locks by itself. The file must exist."""
    if synchronous not in SYNCHRONOUS:
        raise ValueError(f"synchronous must be one of {sorted(SYNCHRONOUS)}")
    connection = _open(path, apsw.SQLITE_OPEN_READWRITE, vfs)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("journal_mode", "WAL")
    connection.pragma("synchronous", synchronous)
    connection.pragma("cache_size", -_WRITER_CACHE_KIB)
    connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
    connection.pragma("journal_size_limit", _WAL_LIMIT_BYTES)
    connection.set_busy_timeout(0)
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """A connection that can only read. The file must exist."""
    connection = _open(path, apsw.SQLITE_OPEN_READONLY, None)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("cache_size", -_READER_CACHE_KIB)
    return connection


def _open(path: Path, flags: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    # Otherwise a cached statement with ORDER BY is planned anew for each new value of its parameters.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


class Readers:
    """At most ``count`` reading connections, opened when first needed, each used by one caller at a time."""

    def __init__(self, open_one: Callable[[], apsw.Connection], count: int) -> None:
        self._open_one = open_one
        self._closed = False
        self._idle: queue.LifoQueue[apsw.Connection | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)

    @contextmanager
    def cursor(self) -> Iterator[apsw.Cursor]:
        """A cursor for single statements. Raises StoreUnavailableError when none gets free, and on any failure."""
        try:
            connection = self._idle.get(timeout=_READER_WAIT_S)
        except queue.Empty:
            raise StoreUnavailableError("all reading connections are busy") from None
        try:
            if self._closed:
                raise StoreUnavailableError("the store is closed")
            with translation():
                if connection is None:
                    connection = self._open_one()
                cursor = connection.cursor()
                try:
                    yield cursor
                finally:
                    cursor.close()  # a statement left half read would hold its snapshot, and the log behind it
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
        """Close the idle connections now and those in use when they come back."""
        self._closed = True
        for _ in range(self._idle.qsize()):
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return
            if connection is not None:
                connection.close()
            self._idle.put(None)
