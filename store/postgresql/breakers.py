"""The shared circuit breakers. Each call is a single statement: one snapshot, or a transaction of its own."""

from __future__ import annotations

from datetime import timedelta

from store.port import BREAKER_REST_SLACK_S, BreakerRecord
from store.postgresql.sessions import Session
from store.postgresql.statements import SQL


def records(session: Session) -> dict[str, BreakerRecord]:
    """All breakers that have ever changed, by gateway."""
    rows = session.execute(SQL["select_breakers"], prepare=True, binary=True).fetchall()
    return {row[0]: BreakerRecord(*row) for row in rows}


def turn(session: Session, gateway: str, epoch: int, state: str) -> BreakerRecord:
    """Change the breaker if it is at ``epoch``; returns the record afterwards."""
    row = session.execute(SQL["turn_breaker"], (gateway, epoch, state)).fetchone()
    return BreakerRecord(gateway) if row is None else BreakerRecord(*row)


def take_probe(
    session: Session, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float
) -> BreakerRecord:
    """Permit ``owner`` to probe if the breaker is at ``epoch`` and its sleep is over; returns the record afterwards."""
    rest = timedelta(seconds=max(sleep_s - BREAKER_REST_SLACK_S, 0.0))
    row = session.execute(SQL["take_probe"], (gateway, epoch, owner, rest, timedelta(seconds=permit_s))).fetchone()
    return BreakerRecord(gateway) if row is None else BreakerRecord(*row)
