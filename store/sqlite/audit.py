"""One consistent view of a whole file on a connection of its own, for ``store.verify``."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from store.port import StreamKey
from store.sqlite.command_connections import reading
from store.sqlite.rows import Row, balance_of, event_of, review_of, transaction_of
from store.sqlite.statements import SQL
from store.stream_tables import AuditTables, RowReaders

READERS: Final = RowReaders(event_of, transaction_of, balance_of, review_of)

_CACHE_KIB: Final = 65_536
_STREAMS: Final = (
    SQL["select_next_in_events"],
    SQL["select_next_in_transactions"],
    SQL["select_next_in_balances"],
    SQL["select_next_in_reviews"],
    SQL["select_next_in_unfinished"],
)


@contextmanager
def open_audit(path: Path) -> Iterator[SqliteAudit]:
    """A view of the present database in the file. A service may run, and is not delayed."""
    with reading(path) as (connection, missing):
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.execute(SQL["create_unfinished"])
        connection.execute("BEGIN")
        connection.execute(SQL["fill_unfinished"])
        yield SqliteAudit(connection, missing)


class SqliteAudit(AuditTables):
    """Implements ``store.queries.Audit`` on a connection whose transaction is open."""

    readers = READERS

    def __init__(self, connection: apsw.Connection, missing: str | None = None) -> None:
        self._cursor = connection.cursor()
        self._missing = missing

    def missing(self) -> str | None:
        """Evidence that the file was copied without its log."""
        return self._missing

    def streams(self) -> Iterator[StreamKey]:
        """Every stream that has events or rows, ascending."""
        last = None
        for stream in heapq.merge(*map(self._streams_by, _STREAMS)):
            if stream != last:
                yield stream
                last = stream

    def _streams_by(self, statement: str) -> Iterator[StreamKey]:
        """The streams of one table: one seek for each, independent of its number of rows."""
        last: Sequence[Any] = ("", "")
        while True:
            row = self._cursor.execute(statement, last).fetchone()
            if row is None:
                return
            last = row
            yield StreamKey(*row)

    def kept_head(self, stream: StreamKey) -> None:
        """None: only the events show where a stream ends."""
        del stream

    def _rows(self, query: str, values: Sequence[Any]) -> Sequence[Row]:
        return self._cursor.execute(SQL[query], values).fetchall()
