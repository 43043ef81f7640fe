"""The shared circuit breakers, within an open transaction or a reader. Never begins or commits."""

from __future__ import annotations

import apsw

from store.port import BREAKER_REST_SLACK_S, BreakerRecord
from store.sqlite.rows import Row
from store.sqlite.statements import SQL


def records(cursor: apsw.Cursor, now_us: int) -> dict[str, BreakerRecord]:
    """All breakers that have ever changed, by gateway."""
    return {row[0]: _record(row, now_us) for row in cursor.execute(SQL["select_breakers"])}


def turn(cursor: apsw.Cursor, gateway: str, epoch: int, state: str, now_us: int) -> BreakerRecord:
    """Change the breaker if it is at ``epoch``; returns the record afterwards."""
    if epoch == 0:
        cursor.execute(SQL["insert_breaker"], (gateway, state, now_us))
    else:
        cursor.execute(SQL["turn_breaker"], (gateway, epoch, state, now_us))
    return _of(cursor, gateway, now_us)


def take_probe(
    cursor: apsw.Cursor, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float, now_us: int
) -> BreakerRecord:
    """Permit ``owner`` to probe if the breaker is at ``epoch`` and its sleep is over; returns the record afterwards."""
    sleep_us = round(max(sleep_s - BREAKER_REST_SLACK_S, 0.0) * 1_000_000)
    until_us = now_us + round(permit_s * 1_000_000)
    cursor.execute(SQL["take_probe"], (gateway, epoch, owner, now_us, until_us, now_us - sleep_us, now_us + sleep_us))
    return _of(cursor, gateway, now_us)


def _of(cursor: apsw.Cursor, gateway: str, now_us: int) -> BreakerRecord:
    row = cursor.execute(SQL["select_breaker"], (gateway,)).fetchone()
    return BreakerRecord(gateway) if row is None else _record(row, now_us)


def _record(row: Row, now_us: int) -> BreakerRecord:
    gateway, epoch, state, changed_us, prober, until_us = row
    left_us = 0 if until_us is None else min(until_us - now_us, until_us - changed_us)
    return BreakerRecord(
        gateway, epoch, state, max(now_us - changed_us, 0) / 1_000_000, prober, max(left_us, 0) / 1_000_000
    )
