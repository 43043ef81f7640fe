"""One consistent view of everything on a connection of its own, for ``store.verify``."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from domain.account import Balance, Transaction
from store.port import Head, Review, StoredEvent, StreamKey
from store.sqlite import reads
from store.sqlite.command_connections import reading
from store.sqlite.rows import balance_of, event_of, review_of, transaction_of
from store.sqlite.statements import SQL

_PAGE: Final = 500
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
    """A view of the database in the file as it is now; may run beside the service, which it does not hold up."""
    with reading(path) as (connection, missing):
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.execute(SQL["create_unfinished"])
        connection.execute("BEGIN")
        connection.execute(SQL["fill_unfinished"])
        yield SqliteAudit(connection, missing)


class SqliteAudit:
    """The Audit port on a connection whose transaction is open. Implements ``store.queries.Audit``."""

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
        """The streams of one table: a seek for each, however many rows it has."""
        last: Sequence[Any] = ("", "")
        while True:
            row = self._cursor.execute(statement, last).fetchone()
            if row is None:
                return
            last = row
            yield StreamKey(*row)

    def events(self, stream: StreamKey) -> Iterator[StoredEvent]:
        """All events of a stream by ascending version."""
        after: Any = -(2**63)  # a tampered version may be below 1
        while True:
            page = self._cursor.execute(SQL["select_events_after"], (*stream, after, _PAGE)).fetchall()
            yield from map(event_of, page)
            if len(page) < _PAGE:
                return
            after = page[-1][4]

    def head(self, stream: StreamKey) -> Head:
        """The stream's end."""
        return reads.head(self._cursor, stream)

    def kept_head(self, stream: StreamKey) -> None:
        """There is none: the events alone tell where a stream ends."""
        del stream

    def transactions(self, stream: StreamKey) -> Sequence[Transaction]:
        """The read rows of a stream, ids ascending."""
        return [transaction_of(row) for row in self._cursor.execute(SQL["select_stream_transactions"], stream)]

    def balances(self, stream: StreamKey) -> Sequence[tuple[str, Balance]]:
        """The balance rows of a stream, currencies ascending."""
        return [balance_of(row) for row in self._cursor.execute(SQL["select_balances"], stream)]

    def reviews(self, stream: StreamKey) -> Sequence[Review]:
        """The review rows of a stream, ids ascending."""
        return [review_of(row) for row in self._cursor.execute(SQL["select_stream_reviews"], stream)]

    def unfinished(self, stream: StreamKey) -> Sequence[str]:
        """Ids of the stream's transactions that have a work row, ascending."""
        return [row[0] for row in self._cursor.execute(SQL["select_unfinished"], stream)]
