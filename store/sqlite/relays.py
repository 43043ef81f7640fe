"""The relays: their leases and checkpoints for the service, and their administration on connections of its own.

The functions run within an open transaction or a reader, and never begin or commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import apsw

from store.errors import storable
from store.port import REFUSAL_REASON_MAX, Feed, RelayCheckpoint, RelayLease, RelayRefusal, StoredEvent
from store.relay_health import RelayHealth
from store.relays import Move, RelayMove
from store.sqlite import reads
from store.sqlite.command_connections import reading, writing
from store.sqlite.failures import translation
from store.sqlite.rows import Row, from_us, to_us
from store.sqlite.statements import SQL


def lead(cursor: apsw.Cursor, name: str, owner: str, lease_s: float, now_us: int) -> RelayLease | None:
    """Lease the relay to ``owner`` unless another one has it."""
    row = cursor.execute(SQL["lead_relay"], (name, owner, now_us, round(lease_s * 1_000_000))).fetchone()
    return None if row is None else RelayLease(*row)


def advance(cursor: apsw.Cursor, name: str, token: int, position: int, generation: int) -> bool:
    """Move the checkpoint, if token and generation are the present ones."""
    return cursor.execute(SQL["advance_relay"], (name, token, position, generation)).fetchone() is not None


def note_refusal(cursor: apsw.Cursor, name: str, token: int, refusal: RelayRefusal, now_us: int) -> bool:
    """Record the refusal, if the token is the present one."""
    values = (name, token, refusal.position, refusal.reason[:REFUSAL_REASON_MAX], now_us)
    return cursor.execute(SQL["refuse_relay"], values).fetchone() is not None


def resign(cursor: apsw.Cursor, name: str, owner: str) -> None:
    """Give the lease back."""
    cursor.execute(SQL["resign_relay"], (name, owner))


def checkpoint(cursor: apsw.Cursor, name: str, now_us: int) -> RelayCheckpoint | None:
    """The relay with this name."""
    row = cursor.execute(SQL["select_relay"], (name,)).fetchone()
    if row is None:
        return None
    name, position, generation, token, owner, renewed_us, until_us, refused, reason, refused_us = row
    left_us = 0 if owner is None else min(until_us - now_us, until_us - renewed_us)
    refusal = None if refused is None else RelayRefusal(refused, reason, max(now_us - refused_us, 0) / 1_000_000)
    return RelayCheckpoint(name, position, generation, token, owner, max(left_us, 0) / 1_000_000, refusal)


def health(cursor: apsw.Cursor, name: str, now_us: int) -> RelayHealth:
    """How far the relay is behind."""
    row: Row = cursor.execute(SQL["select_relay_health"], (name, now_us)).fetchall()[0]
    position, event_id, body, last, led, refused = row
    following = None if position is None else (position, event_id, body)
    return RelayHealth.of(
        following=following, last=last or 0, led=bool(led), refused=bool(refused), now=from_us(now_us)
    )


@contextmanager
def open_desk(path: Path, clock: Callable[[], datetime]) -> Iterator[SqliteRelayDesk]:
    """The relays in the file. Each change waits for the writes of the service."""
    with reading(path):  # so that problems with the file are reported first
        pass
    yield SqliteRelayDesk(path, clock)


class SqliteRelayDesk:
    """Implements ``store.relays.RelayDesk``. Each call has a connection of its own; reads need only read access."""

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path, self._clock = path, clock

    def relays(self) -> Sequence[RelayCheckpoint]:
        """See ``store.relays.RelayDesk``."""
        now_us = to_us(self._clock())
        with translation(self._path), reading(self._path) as (connection, _):
            names: list[Row] = connection.execute(SQL["select_relay_names"]).fetchall()
            found = [checkpoint(connection.cursor(), name, now_us) for (name,) in names]
        return [relay for relay in found if relay is not None]

    def health(self, name: str) -> RelayHealth:
        """See ``store.relays.RelayDesk``."""
        with translation(self._path), reading(self._path) as (connection, _), storable():
            return health(connection.cursor(), name, to_us(self._clock()))

    def feed(self) -> Feed:
        """See ``store.relays.RelayDesk``."""
        with translation(self._path), reading(self._path) as (connection, _):
            return reads.feed(connection.cursor())

    def next_event(self, after: int) -> StoredEvent | None:
        """See ``store.relays.RelayDesk``."""
        with translation(self._path), reading(self._path) as (connection, _):
            return next(iter(reads.all_events(connection.cursor(), None, after, 1)), None)

    def move(self, name: str, action: Move, from_position: int, to_position: int, *, who: str, reason: str) -> bool:
        """See ``store.relays.RelayDesk``."""
        record = (name, action.value, from_position, to_position, who, reason, to_us(self._clock()))
        with translation(self._path), writing(self._path) as connection, storable(), connection:  # a transaction
            moved = connection.execute(SQL["move_relay"], (name, from_position, to_position)).fetchone() is not None
            if moved:
                connection.execute(SQL["insert_relay_move"], record)
        return moved

    def moves(self, name: str, limit: int) -> Sequence[RelayMove]:
        """See ``store.relays.RelayDesk``."""
        with translation(self._path), reading(self._path) as (connection, _), storable():
            rows: list[Row] = connection.execute(SQL["select_relay_moves"], (name, limit)).fetchall()
        return [RelayMove(row[0], Move(row[1]), row[2], row[3], row[4], row[5], from_us(row[6])) for row in rows]
