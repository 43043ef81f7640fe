"""The messages between actors: plain values. Operations, for customers' actors, are in ``actors.operations``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from actors.gateways.breaker import Permit
from actors.replies import GatewayStatus
from actors.runtime.actor import Future
from domain.outcomes import NotReceived, Outcome, Unknown
from domain.values import value
from store.port import (
    AppendResult,
    BreakerRecord,
    DeadLetterFilter,
    GatewayMode,
    Lease,
    MoveWork,
    Snapshot,
    WorkItem,
    Write,
)


class Recipient(Protocol):
    """A receiver of messages: an address, or a Pykka reference."""

    def tell(self, message: object, /) -> None:
        """Send ``message``."""


@value(frozen=True, slots=True)
class NotSent:
    """The call certainly never reached the provider; ``reason`` is for operators."""

    reason: str


@value(frozen=True, slots=True)
class NotTried:
    """The work was admitted, but no call was made. This does not count as an attempt."""

    reason: str


@value(frozen=True, slots=True)
class Unhandled:
    """No handler fits this work: it is left to an operator."""

    reason: str


CallResult = Outcome | Unknown | NotSent | NotReceived | NotTried | Unhandled


@value(frozen=True, slots=True)
class Loaded:
    """The answer to load number ``serial``."""

    serial: int
    result: Snapshot | BaseException
    leases: Mapping[str, Lease | None] = field(default_factory=dict)
    """The present leases of the work of fenced reports."""


@value(frozen=True, slots=True)
class Append:
    """Request that the journal stores ``write``; the answer goes to ``reply_to`` as Written.

    ``deaths``: the number of journals that died over it, so that it may be stored already. ``generation``: the one in
    which it was decided.
    """

    write: Write
    serial: int
    reply_to: Recipient
    deaths: int = 0
    generation: int = 0


@value(frozen=True, slots=True)
class Unanswered:
    """The store gave no result. ``uncertain``: the write may still be stored."""

    error: BaseException
    uncertain: bool


@value(frozen=True, slots=True)
class Written:
    """The journal's answer to append number ``serial``."""

    serial: int
    result: AppendResult | Unanswered


@value(frozen=True, slots=True)
class Retry:
    """The pause after a failure of the store is over."""


@value(frozen=True, slots=True)
class Passivate:
    """Stop if idle."""


@value(frozen=True, slots=True)
class Submit:
    """Work leased to this process, to be sent. ``claimed``: answer with CapacityFree when more can be taken."""

    gateway: str
    items: tuple[WorkItem, ...]
    claimed: bool = False


@value(frozen=True, slots=True)
class SubmissionRecorded:
    """The submission of ``item`` is on record and may be sent; None: nothing is to be sent, and the slot is free."""

    gateway: str
    permit: Permit
    item: WorkItem | None


@value(frozen=True, slots=True)
class CallFinished:
    """A call has ended and its slot is free. ``healthy``: the gateway answered, a decline included."""

    gateway: str
    permit: Permit
    healthy: bool


@value(frozen=True, slots=True)
class AdmissionDue:
    """Time to try admission to the gateway again: its breaker may admit a call now."""

    gateway: str


@value(frozen=True, slots=True)
class StatusRequest:
    """Request the state of all gateways from the supervisor."""

    reply: Future[tuple[GatewayStatus, ...]]


@value(frozen=True, slots=True)
class BreakerTransition:
    """The gateway's breaker changed to ``state`` in this process, from ``epoch`` of its record: record it for all."""

    gateway: str
    epoch: int
    state: str


@value(frozen=True, slots=True)
class ProbeWanted:
    """Request the gateway's probe for this process, from ``epoch`` of its record."""

    gateway: str
    epoch: int


@value(frozen=True, slots=True)
class BreakerRecordRead:
    """The record of a gateway's breaker, as all processes share it, read at ``asked_at`` on the monotonic clock."""

    record: BreakerRecord
    asked_at: float


@value(frozen=True, slots=True)
class ApplyBreakerMode:
    """Apply an operator's ``mode`` to the gateway's breaker. ``reply`` receives the gateway's state after that.

    ``newest``: the breaker's record, read no earlier than the mode was stored.
    """

    mode: GatewayMode
    reply: Future[GatewayStatus] | None = None
    newest: BreakerRecordRead | None = None


@value(frozen=True, slots=True)
class SetBreakerMode:
    """Store an operator's ``mode`` for a gateway's breaker, then apply it. ``reply`` receives the gateway's state."""

    mode: GatewayMode
    reply: Future[GatewayStatus]


@value(frozen=True, slots=True)
class RetryDead:
    """Queue the merchant's dead letters that match ``where`` now, for an operator. ``reply`` receives their number."""

    merchant: str
    where: DeadLetterFilter
    reply: Future[int]


@value(frozen=True, slots=True)
class Recovered:
    """The gateway answers again: its open transactions can be looked up now."""

    gateway: str


@value(frozen=True, slots=True)
class DeadLettered:
    """``item`` became a dead letter by the committed ``move``: re-sent when due (dead), or left to an operator."""

    item: WorkItem
    move: MoveWork


@value(frozen=True, slots=True)
class ParkWork:
    """Park ``item``, which this process leases and no operation can read. ``problem`` is for operators."""

    item: WorkItem
    problem: str


@value(frozen=True, slots=True)
class ResendDue:
    """A dead letter should be due now."""


@value(frozen=True, slots=True)
class WorkDue:
    """There is queued or dead work of ``gateway`` that is due in ``delay_s`` seconds."""

    gateway: str
    delay_s: float


@value(frozen=True, slots=True)
class CapacityFree:
    """The supervisor can take more claimed work of ``gateway``."""

    gateway: str


@value(frozen=True, slots=True)
class TimerFired:
    """The scheduler's timer for ``gateway``: work should be due now."""

    gateway: str


@value(frozen=True, slots=True)
class ClaimDue:
    """Claim the work of ``gateway`` that is due now."""

    gateway: str


@value(frozen=True, slots=True)
class LeasesRevoked:
    """All leases of this process are revoked: work that waits for a slot must not be sent."""


@value(frozen=True, slots=True)
class Drain:
    """Admit no more calls to gateways: this process stops."""


@value(frozen=True, slots=True)
class Poll:
    """Time to look for work that other processes queued. ``of`` as that of ``Tick``."""

    of: int


@value(frozen=True, slots=True)
class Tick:
    """An actor's periodic timer. ``of`` identifies the actor: a successor ignores the ticks of its predecessor."""

    of: int
