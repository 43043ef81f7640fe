"""The administration of relays by operators: look at them, repeat events, and skip one that the broker refuses.

Each change is recorded with the operator and the reason. It raises the relay's token, so that the present leader
continues from the new checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from store.errors import StoreError
from store.port import Feed, RelayCheckpoint, StoredEvent
from store.relay_health import RelayHealth


class Move(StrEnum):
    """What an operator did to a checkpoint."""

    REWIND = "rewind"
    SKIP = "skip"


class RelayMove(NamedTuple):
    """One recorded change of a checkpoint by an operator."""

    relay: str
    action: Move
    from_position: int
    to_position: int
    who: str
    reason: str
    moved_at: datetime


class MoveRefusedError(StoreError):
    """The checkpoint cannot be moved there; nothing was changed."""


class RelayDesk(Protocol):
    """The relays, for their administration. Every method raises StoreError."""

    def relays(self) -> Sequence[RelayCheckpoint]:
        """Return all relays by name."""

    def health(self, name: str) -> RelayHealth:
        """See ``store.queries.Queries.relay_health``."""

    def feed(self) -> Feed:
        """Return the generation, and the last position that was assigned in it."""

    def next_event(self, after: int) -> StoredEvent | None:
        """Return the first event above the position; None while there is none, or one below may still be committed."""

    def move(self, name: str, action: Move, from_position: int, to_position: int, *, who: str, reason: str) -> bool:
        """Set the checkpoint if it is at ``from_position``, raise the token, and record all of it, in one transaction.

        False when the checkpoint is elsewhere.
        """

    def moves(self, name: str, limit: int) -> Sequence[RelayMove]:
        """Return the newest recorded changes of the relay, newest first."""


def rewind(desk: RelayDesk, name: str, position: int, *, who: str, reason: str) -> RelayCheckpoint:
    """Publish all events above ``position`` again. Returns the checkpoint before. Raises MoveRefusedError."""
    before = _relay(desk, name)
    if not 0 <= position <= before.position:
        raise MoveRefusedError(f"the relay {name} is at position {before.position}: it cannot be rewound to {position}")
    _move(desk, before, Move.REWIND, position, who=who, reason=reason)
    return before


def skip(desk: RelayDesk, name: str, position: int, *, who: str, reason: str) -> StoredEvent:
    """Leave out the event at ``position``, which must be the next to be published. Returns it.

    Raises MoveRefusedError.
    """
    before = _relay(desk, name)
    following = desk.next_event(before.position)
    if following is None or following.position != position:
        found = "there is none" if following is None else f"it is {following.position}"
        raise MoveRefusedError(
            f"only the next event of the relay {name} after position {before.position} can be skipped ({found}), not"
            f" {position}"
        )
    _move(desk, before, Move.SKIP, position, who=who, reason=reason)
    return following


def _relay(desk: RelayDesk, name: str) -> RelayCheckpoint:
    found = {relay.name: relay for relay in desk.relays()}
    if name not in found:
        raise MoveRefusedError(f"there is no relay {name}: none has started yet")
    return found[name]


def _move(desk: RelayDesk, before: RelayCheckpoint, action: Move, position: int, *, who: str, reason: str) -> None:
    if not desk.move(before.name, action, before.position, position, who=who, reason=reason):
        raise MoveRefusedError(f"the relay {before.name} has moved on from position {before.position}: try again")
