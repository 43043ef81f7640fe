"""The tables of one stream at a time, for audits and rebuilds. Both adapters have the named queries used here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from domain.account import Balance, Transaction
from store.port import Head, Review, StoredEvent, StreamKey, Write
from store.rebuild import ReadRows

PAGE: Final = 500
"""Rows that are fetched at a time."""

_LOWEST_VERSION: Final = -(2**63)  # a tampered version may be below 1
_VERSION: Final = 4
"""The place of the version among the columns of ``select_events_after``."""
_DELETES: Final = ("delete_transactions", "delete_balances", "delete_reviews")

Row = tuple[Any, ...]


class RowReaders(NamedTuple):
    """An adapter's functions that make values from rows."""

    event: Callable[[Row], StoredEvent]
    transaction: Callable[[Row], Transaction]
    balances: Callable[[Sequence[Row]], Sequence[tuple[str, Balance]]]
    """From all rows of ``select_balances``."""
    review: Callable[[Row], Review]


class AuditTables(ABC):
    """The part of ``store.queries.Audit`` that reads one stream."""

    readers: RowReaders

    @abstractmethod
    def _rows(self, query: str, values: Sequence[object]) -> Sequence[Row]:
        """All rows of a named query."""

    def events(self, stream: StreamKey) -> Iterator[StoredEvent]:
        """All events of a stream by ascending version."""
        after: Any = _LOWEST_VERSION
        while True:
            page = self._rows("select_events_after", (*stream, after, PAGE))
            yield from map(self.readers.event, page)
            if len(page) < PAGE:
                return
            after = page[-1][_VERSION]

    def head(self, stream: StreamKey) -> Head:
        """The end of a stream, by its events."""
        rows = self._rows("select_head", stream)
        return Head(*rows[0]) if rows else Head()

    def transactions(self, stream: StreamKey) -> Sequence[Transaction]:
        """The read rows of a stream, ids ascending."""
        return [self.readers.transaction(row) for row in self._rows("select_stream_transactions", stream)]

    def balances(self, stream: StreamKey) -> Sequence[tuple[str, Balance]]:
        """The balances of a stream, currencies ascending."""
        return self.readers.balances(self._rows("select_balances", stream))

    def reviews(self, stream: StreamKey) -> Sequence[Review]:
        """The review rows of a stream, ids ascending."""
        return [self.readers.review(row) for row in self._rows("select_stream_reviews", stream)]

    def unfinished(self, stream: StreamKey) -> Sequence[str]:
        """Ids of the stream's transactions that have a work row, ascending."""
        return [row[0] for row in self._rows("select_unfinished", stream)]


class RebuildTables(AuditTables):
    """The part of ``store.rebuild.Rebuilding`` that reads and replaces the rows of one stream."""

    @abstractmethod
    def _ids(self, ids: Sequence[str]) -> object:
        """The ids as one value of a query."""

    @abstractmethod
    def _execute(self, query: str, values: Sequence[object]) -> object:
        """Run a named query that changes rows."""

    @abstractmethod
    def _put(self, write: Write) -> None:
        """Store the read rows of ``write``, whose stream has none."""

    def last_position(self) -> int:
        """See ``store.rebuild.Rebuilding``."""
        return int(self._rows("select_last_position", ())[0][0])

    def newest_version(self, stream: StreamKey) -> int:
        """See ``store.rebuild.Rebuilding``."""
        return int(self._rows("select_newest_version", stream)[0][0])

    def replace(self, stream: StreamKey, rows: ReadRows) -> None:
        """See ``store.rebuild.Rebuilding``."""
        for query in _DELETES:
            self._execute(query, stream)
        self._execute("delete_stray_transactions", (self._ids(rows.transaction_ids),))
        self._execute("delete_stray_reviews", (self._ids(rows.review_ids),))
        self._put(Write(stream, Head(), (), *rows))
