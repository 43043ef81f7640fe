"""Excludes services and rebuilds of one database from each other, by a lock that ends with its connection.

The actor of a customer continues from the rows that it has read, and would overwrite rebuilt rows. Therefore a service
writes only on connections that share the lock: no rebuild begins while one exists, and none is opened during a rebuild.
A service that lost all its connections, and so permitted a rebuild, gets no new one: it must be restarted.
"""

from __future__ import annotations

import psycopg
from psycopg import errors

from store.errors import StoreInUseError
from store.postgresql.generations import Follower
from store.postgresql.rows import fetched
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL


class ServiceLock:
    """Takes the shared lock on each new connection of a service that writes."""

    def __init__(self, follow: Follower) -> None:
        self._follow = follow
        self._rebuilds: int | None = None
        """The number of rebuilds when the first connection was opened, before the first read."""

    def __call__(self, session: Session) -> None:
        """Take the lock. Raises psycopg.OperationalError, as a failed connection does, and closes the session."""
        try:
            self._take(session)
        except BaseException:
            session.close()  # it may hold the lock
            raise

    def _take(self, session: Session) -> None:
        if fetched(session.execute(SQL["take_service_lock"])) != [(True,)]:
            raise psycopg.OperationalError("the read tables are being rebuilt")
        # After the lock: no rebuild can begin now, and this snapshot shows all earlier ones.
        ((rebuilds,),) = fetched(session.execute(SQL["select_last_rebuild"]))
        if self._rebuilds is None:
            self._rebuilds = rebuilds
        elif rebuilds != self._rebuilds:
            raise psycopg.OperationalError(
                "the read tables were rebuilt while this process was cut off from the database: restart it"
            )
        self._follow(session)


def exclusive_lock(session: Session) -> None:
    """Keep all services out for as long as this connection lives.

    Waits up to the time limit of locks, because the server needs a moment to detect the end of a client. Raises
    StoreInUseError when a service is still connected.
    """
    try:
        session.execute(SQL["take_exclusive_lock"])
    except errors.LockNotAvailable as error:
        pids = ", ".join(str(pid) for (pid,) in fetched(session.execute(SQL["select_service_lock_holders"])))
        raise StoreInUseError(
            f"a process works on the database: end all services first (the server's processes {pids or 'are ending'})"
        ) from error
    session.execute(SQL["insert_rebuild"])
