"""The relays: their leases and checkpoints for the service, and their administration by the owner of the tables.

Each call is a single statement, so a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from psycopg import errors

from store.errors import StoreError, storable
from store.port import REFUSAL_REASON_MAX, Feed, RelayCheckpoint, RelayLease, RelayRefusal, StoredEvent
from store.postgresql import reads
from store.postgresql.failures import translated, translation
from store.postgresql.sessions import Session, connection_settings
from store.postgresql.statements import SQL
from store.relay_health import RelayHealth
from store.relays import Move, RelayMove


def lead(session: Session, name: str, owner: str, lease_s: float) -> RelayLease | None:
    """Lease the relay to ``owner`` unless another one has it."""
    values = {"name": name, "owner": owner, "lease": timedelta(seconds=lease_s)}
    row = session.execute(SQL["lead_relay"], values).fetchone()
    return None if row is None else RelayLease(*row)


def advance(session: Session, name: str, token: int, position: int, generation: int) -> bool:
    """Move the checkpoint, if token and generation are the present ones."""
    values = {"name": name, "token": token, "position": position, "generation": generation}
    return session.execute(SQL["advance_relay"], values).fetchone() is not None


def note_refusal(session: Session, name: str, token: int, position: int, reason: str) -> bool:
    """Record the refusal, if the token is the present one."""
    values = {"name": name, "token": token, "position": position, "reason": reason[:REFUSAL_REASON_MAX]}
    return session.execute(SQL["refuse_relay"], values).fetchone() is not None


def resign(session: Session, name: str, owner: str) -> None:
    """Give the lease back."""
    session.execute(SQL["resign_relay"], (name, owner))


def checkpoint(session: Session, name: str) -> RelayCheckpoint | None:
    """The relay with this name."""
    row = session.execute(SQL["select_relay"], (name,)).fetchone()
    if row is None:
        return None
    name, position, generation, token, owner, left_s, *refused = row
    refusal = None if refused[0] is None else RelayRefusal(*refused)
    return RelayCheckpoint(name, position, generation, token, owner, left_s, refusal)


def health(session: Session, name: str) -> RelayHealth:
    """How far the relay is behind."""
    row = session.execute(SQL["select_relay_health"], (name,)).fetchone()
    assert row is not None
    position, event_id, body, last, led, refused, now = row
    following = None if position is None else (position, event_id, bytes(body))
    return RelayHealth.of(following=following, last=last or 0, led=led, refused=refused, now=now)


@contextmanager
def open_desk(url: str) -> Iterator[PostgresqlRelayDesk]:
    """The relays in the database at ``url``."""
    with translation(), Session.connect(**connection_settings(url), autocommit=True) as session:
        yield PostgresqlRelayDesk(session)


class PostgresqlRelayDesk:
    """Implements ``store.relays.RelayDesk``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def relays(self) -> Sequence[RelayCheckpoint]:
        """See ``store.relays.RelayDesk``."""
        with _administering():
            names = self._session.execute(SQL["select_relay_names"]).fetchall()
            found = (checkpoint(self._session, name) for (name,) in names)
            return [relay for relay in found if relay is not None]

    def health(self, name: str) -> RelayHealth:
        """See ``store.relays.RelayDesk``."""
        with _administering():
            return health(self._session, name)

    def feed(self) -> Feed:
        """See ``store.relays.RelayDesk``."""
        with _administering():
            return reads.feed(self._session)

    def next_event(self, after: int) -> StoredEvent | None:
        """See ``store.relays.RelayDesk``."""
        with _administering():
            return next(iter(reads.all_events(self._session, None, after, 1)), None)

    def move(self, name: str, action: Move, from_position: int, to_position: int, *, who: str, reason: str) -> bool:
        """See ``store.relays.RelayDesk``."""
        values = {
            "name": name,
            "action": action,
            "from_position": from_position,
            "to_position": to_position,
            "who": who,
            "reason": reason,
        }
        with _administering():
            return self._session.execute(SQL["move_relay"], values).fetchone() is not None

    def moves(self, name: str, limit: int) -> Sequence[RelayMove]:
        """See ``store.relays.RelayDesk``."""
        with _administering():
            rows = self._session.execute(SQL["select_relay_moves"], (name, limit)).fetchall()
        return [RelayMove(relay, Move(action), *rest) for relay, action, *rest in rows]


@contextmanager
def _administering() -> Iterator[None]:
    try:
        with storable():
            yield
    except errors.InsufficientPrivilege as error:
        raise StoreError(
            "this login may not administer relays: PAYMENTS_MIGRATION_DATABASE_URL names the owner of the tables"
        ) from error
    except psycopg.Error as error:
        raise translated(error) from error
