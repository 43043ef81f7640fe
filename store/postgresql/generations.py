"""Generations: what a session does first on a server, and how the next one begins.

A database that was put back to an earlier state shows by the server's system identifier or timeline: a promoted replica
and a point-in-time recovery have another timeline, a dump restored elsewhere has another system identifier. The
first session that sees this begins the next generation before anything else is done or read on it.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from collections.abc import Iterator
from typing import Final

from store.postgresql.rows import fetched
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL

logger: Final = logging.getLogger(__name__)


def follow_server(session: Session) -> None:
    """Begin the next generation when the newest one began elsewhere. Raises psycopg.Error, on a standby too."""
    ((number, is_here),) = fetched(session.execute(SQL["select_generation_here"]))
    if is_here:
        return
    logger.critical(
        "the database was put back to an earlier state: its server is another, or on another timeline",
        extra={"fields": {"generation": number}},
    )
    begin(session, number)


def begin(session: Session, seen: int) -> int:
    """Begin the generation after ``seen`` unless there is a later one; the newest. In a transaction of its own."""
    with _patience(session):
        ((newest,),) = fetched(session.execute(SQL["begin_generation"], (seen,)))
    return int(newest)


@contextmanager
def _patience(session: Session) -> Iterator[None]:
    """All unfinished work is touched, which takes as long as it takes."""
    limit_s, session.limit_s = session.limit_s, None
    ((before,),) = fetched(session.execute("SHOW statement_timeout"))
    session.execute("SELECT set_config('statement_timeout', '0', false)")
    try:
        yield
    finally:
        session.limit_s = limit_s
        if not session.closed:
            session.execute("SELECT set_config('statement_timeout', %s, false)", (before,))
