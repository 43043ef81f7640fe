"""Marks a restored database as the tables' owner, while no service works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from store.port import StreamKey
from store.postgresql import generations
from store.postgresql.failures import translation
from store.postgresql.rows import event_of, fetched
from store.postgresql.service_lock import exclusive_lock
from store.postgresql.sessions import Session, audit_settings
from store.postgresql.statements import SQL
from store.restored import OpenTransaction, Restored


@contextmanager
def open_restoring(url: str) -> Iterator[PostgresqlRestoring]:
    """The database, closed to services during the block. Raises StoreInUseError when a service has it open."""
    with translation(), closing(Session.connect(**audit_settings(url), autocommit=True)) as session:
        session.execute("SET lock_timeout = '2s'")
        exclusive_lock(session)
        yield PostgresqlRestoring(session)


class PostgresqlRestoring:
    """Implements ``store.restored.Restoring``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def mark(self, at_least: int) -> Restored:
        """See ``store.restored.Restoring``."""
        ((newest, _),) = fetched(self._session.execute(SQL["select_generation"]))
        generation = generations.begin(self._session, max(newest, at_least - 1))
        last = fetched(self._session.execute(SQL["select_last_event_of_all"]))
        rows = fetched(self._session.execute(SQL["select_open_transactions"]))
        unfinished = [OpenTransaction(row[0], StreamKey(*row[1:3]), *row[3:]) for row in rows]
        return Restored(generation, event_of(last[0]) if last else None, unfinished)
