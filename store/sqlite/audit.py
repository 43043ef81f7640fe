"""One consistent view of a whole file on a connection of its own, for ``store.verify``."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from domain.account import Balance
from store.port import Head, StreamKey
from store.sqlite.command_connections import reading
from store.sqlite.rows import Row, balances_of, event_of, review_of, transaction_of
from store.sqlite.statements import SQL
from store.stream_tables import AuditTables, RowReaders

_CACHE_KIB: Final = 65_536
_STREAMS: Final = (
    SQL["select_next_in_events"],
    SQL["select_next_in_transactions"],
    SQL["select_next_in_heads"],
    SQL["select_next_in_reviews"],
    SQL["select_next_in_unfinished"],
)


def _balances_of(rows: Sequence[Row]) -> Sequence[tuple[str, Balance]]:
    return sorted(balances_of(rows[0][0]).items()) if rows else []


READERS: Final = RowReaders(event_of, transaction_of, _balances_of, review_of)


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

    def kept_head(self, stream: StreamKey) -> Head:
        """The head that appends continue from. Every stream that has events has a row with it."""
        rows = self._rows("select_kept_head", stream)
        return Head(*rows[0]) if rows else Head()

    def _rows(self, query: str, values: Sequence[Any]) -> Sequence[Row]:
        return self._cursor.execute(SQL[query], values).fetchall()
