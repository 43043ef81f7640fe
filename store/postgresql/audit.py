"""One consistent view of a whole database on a connection of its own, for ``store.verify``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from psycopg import IsolationLevel

from store.port import Head, StreamKey
from store.postgresql.failures import translation
from store.postgresql.rows import Row, balance_of, event_of, fetched, review_of, transaction_of
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL
from store.stream_tables import PAGE, AuditTables, RowReaders

READERS: Final = RowReaders(event_of, transaction_of, lambda rows: [balance_of(row) for row in rows], review_of)


@contextmanager
def open_audit(settings: Mapping[str, Any]) -> Iterator[PostgresqlAudit]:
    """A view of the present database. Services may run, and are not delayed."""
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


class PostgresqlAudit(AuditTables):
    """Implements ``store.queries.Audit`` on a connection whose transaction is open."""

    readers = READERS

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

    def kept_head(self, stream: StreamKey) -> Head | None:
        """The head that appends continue from."""
        heads = self._rows("select_kept_head", stream)
        return Head(*heads[0]) if heads else None

    def _rows(self, query: str, values: Sequence[object]) -> list[Row]:
        return fetched(self._session.execute(SQL[query], values, prepare=True, binary=True))
