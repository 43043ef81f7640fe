"""Unfinished work: its states, its changes, and the roles that lease it to processes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol

from domain.account import Transaction
from domain.events import VOCABULARY
from domain.values import value
from store.port.streams import StreamKey


class WorkState(StrEnum):
    """The state of a piece of work."""

    QUEUED = "queued"
    """Any process may lease it when it is due."""
    LEASED = "leased"
    """One process has it."""
    DEAD = "dead"
    """It failed too often, and is tried again on the timer of the dead letters."""
    PARKED = "parked"
    """It waits for an operator."""


class Action(StrEnum):
    """What is to be done."""

    SUBMIT = "submit"
    """Send the transaction to its gateway."""
    RESOLVE = "resolve"
    """Look up the outcome of the transaction."""
    APPLY = "apply"
    """Apply a stored callback."""


class DeliveryCertainty(IntEnum):
    """Whether the provider may have received an attempt with an unknown outcome. Higher values include lower ones."""

    NOT_SENT = 0
    """No attempt reached the provider."""
    LEASE_LOST = 1
    """A process lost its lease without a report. It may have sent a request that needs no record beforehand."""
    SENT = 2
    """A record shows that an attempt was about to be sent, or was sent. Its outcome is unknown."""


class WorkError(NamedTuple):
    """One failed attempt, for operators."""

    at: datetime
    error: str


@value(frozen=True, slots=True)
class OpenWork:
    """Open a piece of work with token 1, leased to ``owner`` at once, or queued when ``owner`` is None.

    It is also queued when the owner is not registered, because no missing heartbeat would ever release the lease. Its
    certainty is then at least ``DeliveryCertainty.LEASE_LOST``: the process may assume that it has the lease, and send.
    """

    work_id: str
    transaction_id: str | None
    gateway: str
    action: Action
    event_type: str
    owner: str | None
    payload: bytes | None = None


@value(frozen=True, slots=True)
class MoveWork:
    """Continue a piece of work: it is due again ``delay_s`` from now, and its token goes up by one.

    With ``state`` leased the present owner keeps its lease. Without an owner the work is queued.
    """

    work_id: str
    action: Action
    state: WorkState
    delay_s: float
    attempts: int
    errors: tuple[WorkError, ...]
    certainty: DeliveryCertainty = DeliveryCertainty.NOT_SENT


@value(frozen=True, slots=True)
class CloseWork:
    """Finish a piece of work."""

    work_id: str


WorkChange = OpenWork | MoveWork | CloseWork


class Fence(NamedTuple):
    """Make a write valid only while the work has this token. Another token means that another process has the work."""

    work_id: str
    token: int


@value(frozen=True, slots=True)
class WorkItem:
    """A piece of work that is leased to the caller under ``token``."""

    work_id: str
    token: int
    stream: StreamKey
    gateway: str
    action: Action
    event_type: str
    attempts: int
    errors: tuple[WorkError, ...]
    transaction: Transaction | None
    payload: bytes | None = None
    certainty: DeliveryCertainty = DeliveryCertainty.NOT_SENT


class Lease(NamedTuple):
    """The token of a piece of work, and the owner of its lease, if any."""

    token: int
    owner: str | None


class QueuedWork(NamedTuple):
    """A piece of work that any process may lease now."""

    work_id: str
    token: int
    transaction_id: str | None
    gateway: str
    """The queue of the work: a gateway, or the queue of a gateway's waiting callbacks."""


class DeadLetterFilter(NamedTuple):
    """A selection of dead letters; None does not filter. ``state`` is dead or parked."""

    gateway: str | None = None
    state: WorkState | None = None
    work_id: str | None = None

    @property
    def states(self) -> Sequence[WorkState]:
        """The states that pass the filter."""
        return (WorkState.DEAD, WorkState.PARKED) if self.state is None else (self.state,)


class WorkStore(Protocol):
    """Leases due work to owners. Every method raises StoreUnavailableError."""

    def lease(self, work_id: str) -> Lease | None:
        """Return the present lease of the piece of work; None when there is no such work."""

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """Lease up to ``limit`` due pieces of the gateway's work to ``owner``, oldest due first."""

    def next_due_s(self, gateway: str) -> float | None:
        """Return the seconds until the next queued or dead work of the gateway is due.

        0 when some is due now, None when there is none.
        """

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """Return up to ``limit`` due pieces of the work of each of ``gateways``, oldest due first. Leases nothing.

        These are the pieces that ``claim_work`` leases: queued work, and dead letters whose time has come.
        """

    def clock_set_back(self, lost_s: float) -> int:
        """Shift all due times back by ``lost_s``, after the wall clock of this host went back by that much.

        Returns the number of shifted pieces. Does nothing where the times come from a server.
        """

    def limit_dues(self, max_s: float) -> int:
        """Make work that is due later than ``max_s`` from now due at that time: a wrong clock had planned it.

        Lookups of authorizations stay, which are planned for the end of the hold.

        Returns the number of changed pieces. Does nothing where the times come from a server.
        """

    def hasten_lookups(self, gateway: str) -> int:
        """Make all waiting lookups (``Action.RESOLVE``) of the gateway due now; returns their number.

        Those of authorizations before the end of the hold stay.

        A lookup that was not due yet is additional to its schedule: its attempts go down by one, not below 0.
        """

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """Queue the matching dead letters (dead, parked) that the merchant sees: due now, under new tokens.

        Returns their number. Attempts, errors and delivery certainty stay.
        """


class OwnerStore(Protocol):
    """The processes that hold leases, each with one heartbeat. Every method raises StoreUnavailableError."""

    def register_owner(self, owner: str, vocabulary: int = VOCABULARY) -> None:
        """Register ``owner``, so that it can hold leases, with its ``vocabulary`` (``domain.events.VOCABULARY``)."""

    def vocabulary_floor(self) -> int:
        """Return the lowest vocabulary of the registered owners; that of this version when there are none.

        An owner of a version that does not name its vocabulary has 1.
        """

    def heartbeat(self, owner: str) -> bool:
        """Record a heartbeat of ``owner``. False when it is no longer registered: others have its leases."""

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """Remove ``owner`` and queue all work that it leases; returns the number of queued pieces.

        Without ``unsent`` the certainty of that work is afterwards at least ``DeliveryCertainty.LEASE_LOST``.
        """

    def release_dead(self, lease_s: float) -> int:
        """Remove owners whose heartbeat is older than ``lease_s`` and queue their work; returns its number.

        The certainty of that work is afterwards at least ``DeliveryCertainty.LEASE_LOST``.
        """
