"""One consistent view of everything on a connection of its own, for ``store.verify``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from psycopg import IsolationLevel

from domain.account import Balance, Transaction
from store.port import Head, Review, StoredEvent, StreamKey
from store.postgresql.failures import translation
from store.postgresql.rows import Row, balance_of, event_of, fetched, review_of, transaction_of
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL

PAGE: Final = 500
"""Rows that are fetched at a time."""


@contextmanager
def open_audit(settings: Mapping[str, Any]) -> Iterator[PostgresqlAudit]:
    """A view of the database as it is now; may run beside the services, which it does not hold up."""
    with translation():
        session = Session.connect(**settings)
        try:
            session.isolation_level = IsolationLevel.REPEATABLE_READ
            session.execute(SQL["create_unfinished"])
            session.execute(SQL["index_unfinished"])
            yield PostgresqlAudit(session)
            session.rollback()
        finally:
            session.close()


class PostgresqlAudit:
    """The Audit port on a connection whose transaction is open. Implements ``store.queries.Audit``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def missing(self) -> None:
        """None: a server always has its log."""

    def streams(self) -> Iterator[StreamKey]:
        """Every stream that has events, rows or a head, ascending."""
        with self._session.cursor("streams") as cursor:
            cursor.itersize = PAGE
            cursor.execute(SQL["select_streams"])
            for row in cursor:
                yield StreamKey(*row)

    def events(self, stream: StreamKey) -> Iterator[StoredEvent]:
        """All events of a stream by ascending version."""
        after: Any = -(2**63)  # a tampered version may be below 1
        while True:
            page = self._rows("select_events_after", (*stream, after, PAGE))
            yield from map(event_of, page)
            if len(page) < PAGE:
                return
            after = page[-1][4]

    def head(self, stream: StreamKey) -> Head:
        """The stream's end, of its events."""
        rows = self._rows("select_last_event", stream)
        return Head(*rows[0]) if rows else Head()

    def kept_head(self, stream: StreamKey) -> Head | None:
        """The head that appends go on from."""
        heads = self._rows("select_kept_head", stream)
        return Head(*heads[0]) if heads else None

    def transactions(self, stream: StreamKey) -> Sequence[Transaction]:
        """The read rows of a stream, ids ascending."""
        return [transaction_of(row) for row in self._rows("select_stream_transactions", stream)]

    def balances(self, stream: StreamKey) -> Sequence[tuple[str, Balance]]:
        """The balance rows of a stream, currencies ascending."""
        return [balance_of(row) for row in self._rows("select_balances", stream)]

    def reviews(self, stream: StreamKey) -> Sequence[Review]:
        """The review rows of a stream, ids ascending."""
        return [review_of(row) for row in self._rows("select_stream_reviews", stream)]

    def unfinished(self, stream: StreamKey) -> Sequence[str]:
        """Ids of the stream's transactions that have a work row, ascending."""
        return [row[0] for row in self._rows("select_unfinished", stream)]

    def _rows(self, name: str, values: Sequence[object]) -> list[Row]:
        return fetched(self._session.execute(SQL[name], values, prepare=True, binary=True))
