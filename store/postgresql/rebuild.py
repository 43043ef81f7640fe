"""Rebuilding the read tables of a database that no service works on, for ``store.rebuild``. As the tables' owner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

from store.port import Head, StreamKey, Write
from store.postgresql.audit import PAGE, PostgresqlAudit
from store.postgresql.batch import AppendDocument
from store.postgresql.failures import translation
from store.postgresql.rows import fetched
from store.postgresql.service_lock import exclusive_lock
from store.postgresql.sessions import Session, audit_settings, connection_settings
from store.postgresql.statements import SQL
from store.rebuild import Rows

_TIMEOUT_MS: Final = 600_000
"""For one stream, however long."""
_DELETES: Final = (SQL["delete_transactions"], SQL["delete_balances"], SQL["delete_reviews"])


@contextmanager
def open_rebuild(url: str) -> Iterator[PostgresqlRebuild]:
    """The database, which no service can open meanwhile. Raises StoreInUseError when one has it."""
    settings = connection_settings(url, statement_ms=_TIMEOUT_MS, idle_ms=_TIMEOUT_MS)
    with translation(), closing(Session.connect(**settings, autocommit=True)) as session:
        exclusive_lock(session)
        yield PostgresqlRebuild(session, url)


class PostgresqlRebuild(PostgresqlAudit):
    """Implements ``store.rebuild.Rebuilding`` on a connection in autocommit mode, whose plans go by keys."""

    def __init__(self, session: Session, url: str) -> None:
        super().__init__(session)
        self._url = url

    def streams(self) -> Iterator[StreamKey]:
        """Every stream that has events, rows, work or a head, ascending; as of the first one."""
        # On a connection of its own, which may read whole tables; held without a transaction that would grow old.
        with (
            closing(Session.connect(**audit_settings(self._url), autocommit=True)) as session,
            session.cursor("streams", withhold=True) as cursor,
        ):
            cursor.itersize = PAGE
            cursor.execute(SQL["select_streams"])
            for row in cursor:
                yield StreamKey(*row)

    def last_position(self) -> int:
        """See ``store.rebuild.Rebuilding``."""
        return int(self._rows("select_last_position", ())[0][0])

    def newest_version(self, stream: StreamKey) -> int:
        """See ``store.rebuild.Rebuilding``."""
        return int(self._rows("select_newest_version", stream)[0][0])

    @contextmanager
    def locked(self, stream: StreamKey) -> Iterator[None]:
        """See ``store.rebuild.Rebuilding``; on the connection whose lock keeps all services out."""
        del stream
        with self._session.transaction():
            yield

    def holders(self, stream: StreamKey, rows: Rows) -> Sequence[StreamKey]:
        """See ``store.rebuild.Rebuilding``."""
        transactions, reviews = _ids(rows)
        values = {"name": stream.name, "id": stream.id, "transaction_ids": transactions, "review_ids": reviews}
        return [StreamKey(*row) for row in fetched(self._session.execute(SQL["select_holders"], values))]

    def replace(self, stream: StreamKey, rows: Rows) -> None:
        """See ``store.rebuild.Rebuilding``."""
        for statement in _DELETES:
            self._session.execute(statement, stream)
        transactions, reviews = _ids(rows)
        self._session.execute(SQL["delete_stray_transactions"], (transactions,))
        self._session.execute(SQL["delete_stray_reviews"], (reviews,))
        anew = AppendDocument([Write(stream, Head(), (), *rows)])
        self._session.execute(SQL["append_batch"], (anew.document,))

    def cut(self, stream: StreamKey, head: Head) -> None:
        """See ``store.rebuild.Rebuilding``."""
        self._session.execute(SQL["cut_head"], (*head, *stream))


def _ids(rows: Rows) -> tuple[list[str], list[str]]:
    """Those of transactions and of reviews."""
    return [it.transaction_id for it in rows.transactions], [it.review_id for it in rows.reviews]
