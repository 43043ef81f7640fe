"""Keeps services and rebuilds of one database apart, by a lock that ends with the connection that holds it.

A customer's actor goes on from what it has read, and would write over what was rebuilt. So a service writes only on
connections that hold the lock, shared; nobody rebuilds while there is one, and none is opened during a rebuild. A
service that was cut off from the database, and so let a rebuild begin, gets none any more: it is to be started anew.
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
    """What a service does first on each connection that it writes on."""

    def __init__(self, follow: Follower) -> None:
        self._follow = follow
        self._rebuilds: int | None = None
        """How many there were when the first connection was opened, before anything was read."""

    def __call__(self, session: Session) -> None:
        """Take the lock. Raises psycopg.OperationalError, as for any connection that cannot be had, and closes it."""
        try:
            self._enter(session)
        except BaseException:
            session.close()  # the lock may be taken by now
            raise

    def _enter(self, session: Session) -> None:
        if fetched(session.execute(SQL["take_service_lock"])) != [(True,)]:
            raise psycopg.OperationalError("the read tables are being rebuilt")
        # After the lock: from here on no rebuild begins, and this snapshot shows those that did.
        ((rebuilds,),) = fetched(session.execute(SQL["select_last_rebuild"]))
        if self._rebuilds is None:
            self._rebuilds = rebuilds
        elif rebuilds != self._rebuilds:
            raise psycopg.OperationalError(
                "the read tables were rebuilt while this process was cut off from the database: start it anew"
            )
        self._follow(session)


def exclusive_lock(session: Session) -> None:
    """Keep all services out for as long as this connection lives.

    Waits as long as for any lock, since the server takes a moment to see that a client has ended. Raises
    StoreInUseError when a service is there all the same.
    """
    try:
        session.execute(SQL["take_exclusive_lock"])
    except errors.LockNotAvailable as error:
        pids = ", ".join(str(pid) for (pid,) in fetched(session.execute(SQL["select_service_lock_holders"])))
        raise StoreInUseError(
            f"somebody works on the database: end all services first (the server's processes {pids or 'are ending'})"
        ) from error
    session.execute(SQL["insert_rebuild"])
