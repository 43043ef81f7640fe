"""Relays: who publishes the events to a broker, and how far they are published.

A relay has one leader at a time. A lease that expires by the store's clock may go to another owner under a higher
token. Every change of the checkpoint is fenced by the token and by the generation, so that a leader that was frozen
past its lease, or that knows events of an earlier generation, moves nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

REFUSAL_REASON_MAX: Final = 500
"""Characters of the reason of a refusal that are kept."""


class RelayLease(NamedTuple):
    """The right to publish under ``token`` from the event after ``position``, in this ``generation``."""

    token: int
    position: int
    """The last position that is published, or skipped by an operator. 0: none."""
    generation: int


class RelayRefusal(NamedTuple):
    """An event that cannot be published. The relay stays before it."""

    position: int
    reason: str
    age_s: float
    """Seconds since the newest attempt, never below zero."""


class RelayCheckpoint(NamedTuple):
    """The state of a relay on record; times are relative to the store's clock at the answer."""

    name: str
    position: int
    generation: int
    """The generation in which the checkpoint was set."""
    token: int
    owner: str | None
    """The leader, or the last one if its lease has expired; None after a leader gave its lease back."""
    lease_left_s: float
    """Seconds until the lease expires, never below zero."""
    refusal: RelayRefusal | None


class RelayStore(Protocol):
    """The leases and checkpoints of relays. Every method raises StoreUnavailableError and CommitUncertainError.

    Repeating a call changes nothing more.
    """

    def lead(self, name: str, owner: str, lease_s: float) -> RelayLease | None:
        """Lead the relay for ``lease_s`` from now; None while another owner has the lease.

        The leader renews its lease by the same call, and keeps its token unless an operator has moved the checkpoint. A
        relay that has no record begins before the first event. A clock that was set back extends no lease by more
        than ``lease_s``.
        """

    def advance(self, name: str, token: int, position: int, generation: int) -> bool:
        """Move the checkpoint forward to ``position``. False when the token or the generation is not the present one.

        Also False for a position below the checkpoint. Clears a refusal at or below ``position``.
        """

    def note_refusal(self, name: str, token: int, position: int, reason: str) -> bool:
        """Record that the event at ``position`` cannot be published. False when the token is not the present one."""

    def resign(self, name: str, owner: str) -> None:
        """Give the lease back, if ``owner`` has it: another owner may lead at once."""

    def checkpoint(self, name: str) -> RelayCheckpoint | None:
        """Return the state of the relay; None when it has no record."""
