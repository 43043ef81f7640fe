"""Rebuilding the read tables of a database that no service works on, for ``store.rebuild``. As the tables' owner.

A customer's actor goes on from what it has read, and would write over what was rebuilt. So whoever rewrites a stream
shuts the owners' table: whoever has registered before is seen by his heartbeat, and whoever registers later waits, and
then reads what was rebuilt. That lock is taken after the stream's head, in the order in which an append takes both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from store.errors import StoreInUseError
from store.port import Head, StreamKey, Write
from store.postgresql.audit import PAGE, PostgresqlAudit
from store.postgresql.batch import Batch
from store.postgresql.failures import translation
from store.postgresql.sessions import Session, audit_settings, connection_settings
from store.postgresql.statements import SQL
from store.rebuild import Rows

_TIMEOUT_MS: Final = 600_000
"""For one stream, however long."""
_DELETES: Final = (SQL["delete_transactions"], SQL["delete_balances"], SQL["delete_reviews"])


@contextmanager
def open_rebuild(url: str, *, lease_s: float) -> Iterator[PostgresqlRebuild]:
    """The database. Who gave a heartbeat within ``lease_s`` works on it: then it raises StoreInUseError, as below."""
    settings = connection_settings(url, statement_ms=_TIMEOUT_MS, idle_ms=_TIMEOUT_MS)
    with translation(), closing(Session.connect(**settings, autocommit=True)) as session:
        rebuild = PostgresqlRebuild(session, url, lease_s)
        rebuild.require_alone()
        yield rebuild


class PostgresqlRebuild(PostgresqlAudit):
    """Implements ``store.rebuild.Rebuilding`` on a connection in autocommit mode, whose plans go by keys."""

    def __init__(self, session: Session, url: str, lease_s: float) -> None:
        super().__init__(session)
        self._url = url
        self._lease_s = lease_s

    def streams(self) -> Iterator[StreamKey]:
        """Every stream that has events, rows or work, ascending; as of the first one."""
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

    def kept_head(self, stream: StreamKey) -> Head | None:
        """See ``store.rebuild.Rebuilding``."""
        heads = self._rows("select_kept_head", stream)
        return Head(*heads[0]) if heads else None

    def newest_version(self, stream: StreamKey) -> int:
        """See ``store.rebuild.Rebuilding``."""
        return int(self._rows("select_newest_version", stream)[0][0])

    @contextmanager
    def locked(self, stream: StreamKey) -> Iterator[None]:
        """See ``store.rebuild.Rebuilding``."""
        with self._session.transaction():
            self._rows("lock_head", stream)
            self._session.execute(SQL["lock_owners"])
            self.require_alone()
            yield

    def require_alone(self) -> None:
        """Raises StoreInUseError when a service works on the database."""
        alive = self._rows("select_living_owners", (self._lease_s,))
        if alive:
            owner, silent_s = alive[0]
            raise StoreInUseError(
                f"{owner} works on the database: its last heartbeat was {max(silent_s, 0):.0f} s ago. End all services"
                f" first; one that was killed counts for {self._lease_s:g} s (PAYMENTS_LEASE_S)"
            )

    def replace(self, stream: StreamKey, rows: Rows) -> None:
        """See ``store.rebuild.Rebuilding``."""
        for statement in _DELETES:
            self._session.execute(statement, stream)
        self._session.execute(SQL["delete_stray_transactions"], ([it.transaction_id for it in rows.transactions],))
        self._session.execute(SQL["delete_stray_reviews"], ([it.review_id for it in rows.reviews],))
        anew = Batch([Write(stream, Head(), (), *rows)])
        self._session.execute(SQL["append_batch"], (anew.document,))

    def cut(self, stream: StreamKey, head: Head) -> None:
        """See ``store.rebuild.Rebuilding``."""
        self._session.execute(SQL["cut_head"], (*head, *stream))
