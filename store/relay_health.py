"""How far a relay is behind, and whether anything publishes: from the store alone, so also when no relay lives."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from store.codec import read_body
from store.errors import CorruptStoreError
from store.ids import made_at_s


class RelayHealth(NamedTuple):
    """A relay on record; one that has never led begins before the first event."""

    lag_events: int
    """Positions from the first event that is not published to the newest event; 0 when there is none.

    Some of these positions may be unused, so it is the number of unpublished events or more.
    """
    lag_s: float | None
    """Age of the oldest event that is not published; 0 when there is none. None when its time cannot be read."""
    led: bool
    """Whether an owner has the lease."""
    refused: bool
    """Whether the relay stays before an event that cannot be published."""

    @classmethod
    def of(
        cls, *, following: tuple[int, str, bytes] | None, last: int, led: bool, refused: bool, now: datetime
    ) -> RelayHealth:
        """Make it from position, id and body of the first event after the checkpoint, and the last position."""
        if following is None:
            return cls(0, 0.0, led, refused)
        position, event_id, body = following
        return cls(last - position + 1, _age_s(event_id, body, now), led, refused)


def _age_s(event_id: str, body: bytes, now: datetime) -> float | None:
    """By the time in the event, or else by that in its id: the relay may stay before an event that is damaged."""
    try:
        return max((now - read_body(body).occurred_at).total_seconds(), 0.0)
    except (CorruptStoreError, TypeError):  # TypeError: a time without a zone
        pass
    try:
        return max(now.timestamp() - made_at_s(str(UUID(event_id))), 0.0)
    except ValueError:
        return None
