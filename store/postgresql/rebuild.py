"""Rebuilds the read tables as their owner, while no service works on the database, for ``store.rebuild``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

from store.port import Head, StreamKey, Write
from store.postgresql.audit import PostgresqlAudit
from store.postgresql.batch import AppendDocument
from store.postgresql.failures import translation
from store.postgresql.rows import fetched
from store.postgresql.service_lock import exclusive_lock
from store.postgresql.sessions import Session, audit_settings, connection_settings
from store.postgresql.statements import SQL
from store.rebuild import ReadRows
from store.stream_tables import PAGE, RebuildTables

_TIMEOUT_MS: Final = 600_000
"""For one stream of any length."""


@contextmanager
def open_rebuild(url: str) -> Iterator[PostgresqlRebuild]:
    """The database, closed to services during the block. Raises StoreInUseError when a service has it open."""
    settings = connection_settings(url, statement_ms=_TIMEOUT_MS, idle_ms=_TIMEOUT_MS)
    with translation(), closing(Session.connect(**settings, autocommit=True)) as session:
        exclusive_lock(session)
        yield PostgresqlRebuild(session, url)


class PostgresqlRebuild(PostgresqlAudit, RebuildTables):
    """Implements ``store.rebuild.Rebuilding`` on a connection in autocommit mode, whose plans go by keys."""

    def __init__(self, session: Session, url: str) -> None:
        super().__init__(session)
        self._url = url

    def streams(self) -> Iterator[StreamKey]:
        """Every stream that has events, rows, work or a head, ascending; in one snapshot."""
        # On a connection of its own, which may read whole tables, and without a long transaction.
        with (
            closing(Session.connect(**audit_settings(self._url), autocommit=True)) as session,
            session.cursor("streams", withhold=True) as cursor,
        ):
            cursor.itersize = PAGE
            cursor.execute(SQL["select_streams"])
            for row in cursor:
                yield StreamKey(*row)

    @contextmanager
    def locked(self, stream: StreamKey) -> Iterator[None]:
        """See ``store.rebuild.Rebuilding``; on the connection that holds the exclusive lock."""
        del stream
        with self._session.transaction():
            yield

    def holders(self, stream: StreamKey, rows: ReadRows) -> Sequence[StreamKey]:
        """See ``store.rebuild.Rebuilding``."""
        ids = {"transaction_ids": rows.transaction_ids, "review_ids": rows.review_ids}
        found = self._session.execute(SQL["select_holders"], {"name": stream.name, "id": stream.id, **ids})
        return [StreamKey(*row) for row in fetched(found)]

    def set_head(self, stream: StreamKey, head: Head) -> None:
        """See ``store.rebuild.Rebuilding``."""
        self._execute("cut_head", (*head, *stream))

    def _ids(self, ids: Sequence[str]) -> Sequence[str]:
        return ids

    def _execute(self, query: str, values: Sequence[object]) -> None:
        self._session.execute(SQL[query], values)

    def _put(self, write: Write) -> None:
        self._execute("append_batch", (AppendDocument([write]).document,))
