"""Generations: the first check of each session, and the start of the next generation.

A restore shows in the server's system identifier or timeline: a promoted replica and a point-in-time recovery have
another timeline, and a dump that was restored elsewhere has another system identifier. The first session that detects
this begins the next generation before any other statement.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from store.postgresql.rows import fetched
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL

logger: Final = logging.getLogger(__name__)


class Follower:
    """The first check on each connection of a process. Raises psycopg.Error, also on a standby."""

    def __init__(self) -> None:
        self._known: tuple[int, int | None, int] | None = None
        """The newest generation that this process has seen, and on which server and timeline it began."""

    def __call__(self, session: Session) -> None:
        """Begin the next generation if the newest began elsewhere, or is older than one that this process has seen."""
        known = self._known  # before the read: another connection that is opened meanwhile may receive a later one
        ((*found, is_here),) = fetched(session.execute(SQL["select_generation_here"]))
        number = found[0]
        seen = number if known is None else max(number, known[0])
        if not is_here or (known is not None and number <= known[0] and tuple(found) != known):
            logger.critical(
                "the database was put back to an earlier state: its server is another, or on another timeline",
                extra={"fields": {"generation": seen}},
            )
            begin(session, seen)
            ((*found, _),) = fetched(session.execute(SQL["select_generation_here"]))
        self._known = (found[0], found[1], found[2])


def begin(session: Session, seen: int) -> int:
    """Begin the generation after ``seen`` unless there is a later one, in a separate transaction; the newest."""
    with _patience(session):
        ((newest,),) = fetched(session.execute(SQL["begin_generation"], (seen,)))
    return int(newest)


@contextmanager
def _patience(session: Session) -> Iterator[None]:
    """Lift the time limits, because the update of all unfinished work may take long."""
    limit_s, session.limit_s = session.limit_s, None
    ((before,),) = fetched(session.execute("SHOW statement_timeout"))
    session.execute("SELECT set_config('statement_timeout', '0', false)")
    try:
        yield
    finally:
        session.limit_s = limit_s
        if not session.closed:
            session.execute("SELECT set_config('statement_timeout', %s, false)", (before,))
