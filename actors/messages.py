"""What crosses between the actors. Plain objects without behaviour, except a request's claim on itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import ClassVar, Protocol

from actors.customer.idempotency import IdempotencyKey
from actors.gateways.breaker import Permit
from actors.replies import GatewayStatus, Reply
from actors.runtime.actor import Future
from domain.commands import Discard, Receive
from domain.outcomes import Approved, Declined, NotReceived, Unknown
from store.codec import Metadata
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
    """Anybody who can be told something: an address, or a Pykka reference."""

    def tell(self, message: object, /) -> None:
        """Send it."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """The call surely never reached the provider; ``reason`` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotTried:
    """The work had its turn, and then no call was made after all: that is no attempt."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unhandled:
    """Nobody here knows how to do this work: it is left to a person."""

    reason: str


CallResult = Approved | Declined | Unknown | NotSent | NotReceived | NotTried | Unhandled


class Request:
    """A command from outside on its way to its customer's actor, with the answer that a thread waits for.

    Whoever takes it first decides its fate: the actor that puts it into a write, or the waiting thread that gives
    up at the deadline. So "nothing is stored, and nothing ever will be" is a fact and not a guess.
    """

    refusable = True
    admission: ClassVar[str] = "others"
    """The class in which its callers are admitted: ``commands`` for deposits and withdrawals, else ``others``."""
    __slots__ = (
        "_claim",
        "crashes",
        "deadline",
        "decided_at",
        "doubtful_at",
        "event_ids",
        "in_doubt",
        "metadata",
        "once",
        "refusal_in_doubt",
        "reply",
        "taken",
    )

    def __init__(self, metadata: Metadata, once: IdempotencyKey | None = None) -> None:
        self.metadata = metadata
        self.deadline = inf  # on the monotonic clock; the service facade sets it
        self.once = once
        self.reply: Future[Reply] = Future()
        self._claim = [None]  # taking the last item of a list is atomic, and cheaper than a lock
        self.taken = False  # by the actor, and not by the waiting thread
        self.event_ids: list[str] = []  # chosen once, so that a repeated write is known again by them
        self.in_doubt = False  # an append of it was sent, and it is not known what became of that
        self.refusal_in_doubt = False  # that it is refused may be on record, under its idempotency key
        self.doubtful_at: int | None = None  # the version after which that append would have gone on, if it is known
        self.decided_at: datetime | None = None  # chosen once, so that a repeated write says the same
        self.crashes = 0

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, if any."""
        return None

    @property
    def own_id(self) -> str:
        """What no other request goes by, if it is one that may come with an idempotency key."""
        return self.transaction_id or ""

    @property
    def work_id(self) -> str | None:
        """The piece of work whose token fences it, if any."""
        return None

    @property
    def unique(self) -> Hashable | None:
        """What may be in a batch once, if anything: the piece of work that it is about, or its idempotency key."""
        return self.work_id if self.once is None else (self.once.scope, self.once.key)

    @property
    def alone(self) -> bool:
        """Whether it is to be written alone: it met trouble, or its events may be stored already."""
        return bool(self.crashes) or self.in_doubt

    @property
    def fields(self) -> dict[str, str | None]:
        """What a log line about it says."""
        return {"transaction_id": self.transaction_id}

    def may_be_stored(self, version: int) -> bool:
        """Whether an earlier write of it may be, or may land yet, though the stream at ``version`` does not show it."""
        return self.in_doubt and (self.doubtful_at is None or self.doubtful_at >= version)

    def take_up(self) -> bool:
        """Take it for the actor, unless it has it already; False when the waiting thread gave it up first."""
        if not self.taken:
            self.taken = self.take()
        return self.taken

    def take(self) -> bool:
        """Claim the request; True for exactly one caller."""
        try:
            self._claim.pop()
        except IndexError:
            return False
        return True


class ReceiveRequest(Request):
    """A client's deposit or withdrawal."""

    admission = "commands"
    __slots__ = ("command", "handed_over", "leased")

    def __init__(self, command: Receive, metadata: Metadata, once: IdempotencyKey | None = None) -> None:
        super().__init__(metadata, once)
        self.command: Receive = command
        self.leased: bool | None = None  # whether its work is opened as this process's own, once that is decided
        self.handed_over = False  # its work was given to the supervisor

    @property
    def transaction_id(self) -> str:
        """The transaction that it is to become."""
        return self.command.transaction_id


class DiscardRequest(Request):
    """A person's order to give up the dead letter ``item``; holds only while nobody takes that up."""

    __slots__ = ("command", "item")

    def __init__(self, command: Discard, item: WorkItem, metadata: Metadata) -> None:
        super().__init__(metadata)
        self.command: Discard = command
        self.item = item

    @property
    def transaction_id(self) -> str:
        """The dead letter's transaction."""
        return self.command.transaction_id

    @property
    def work_id(self) -> str:
        """The dead letter's."""
        return self.item.work_id


class AboutWork:
    """Something about a piece of work, on its way to its customer's actor."""

    item: WorkItem
    event_ids: list[str]
    crashes: int
    in_doubt: bool
    fenced: bool
    """Whether its token was stale, so that the present lease of its work must be read first."""
    __slots__ = ()

    @property
    def transaction_id(self) -> str | None:
        """The work's transaction."""
        return None if self.item.transaction is None else self.item.transaction.transaction_id

    @property
    def work_id(self) -> str:
        """The piece of work whose token fences it."""
        return self.item.work_id

    @property
    def unique(self) -> Hashable | None:
        """What may be in a batch once."""
        return self.item.work_id

    @property
    def alone(self) -> bool:
        """Whether it is to be written alone: it met trouble, or its events may be stored already."""
        return bool(self.crashes) or self.in_doubt

    @property
    def fields(self) -> dict[str, str | None]:
        """What a log line about it says."""
        return {"work_id": self.work_id}


class SubmissionRequest(AboutWork):
    """``item`` is about to be sent to a gateway without keys: write that down, then say Cleared to the supervisor."""

    __slots__ = ("cleared", "crashes", "event_ids", "fenced", "in_doubt", "item", "permit")

    def __init__(self, item: WorkItem, permit: Permit) -> None:
        self.item = item
        self.permit = permit
        self.event_ids: list[str] = []
        self.in_doubt = False  # an append of it was sent, and it is not known what became of that
        self.cleared = False  # the supervisor was told so: it may be on its way
        self.fenced = False
        self.crashes = 0


class OutcomeReport(AboutWork):
    """What a call for a piece of work came to, on its way to the customer's actor."""

    __slots__ = (
        "asked_at",
        "crashes",
        "event_ids",
        "fenced",
        "gone",
        "in_doubt",
        "item",
        "result",
        "reviewed",
        "stale",
    )

    def __init__(self, item: WorkItem, result: CallResult, asked_at: float | None = None) -> None:
        self.item = item
        self.result = result
        self.asked_at = asked_at  # when the call began, on the monotonic clock: what it says is as old as that
        self.event_ids: list[str] = []
        self.stale = False  # somebody else owns the work by now: what is reported is evidence only
        self.gone = False  # its transaction is no longer on record: the report becomes a review
        self.fenced = False
        self.reviewed = False  # a person was asked about this very thing before
        self.in_doubt = False  # an append of its events was sent, and it is not known what became of that
        self.crashes = 0

    @property
    def fields(self) -> dict[str, str | None]:
        """What a log line about it says."""
        return {**super().fields, "result": type(self.result).__name__}


@dataclass(frozen=True, slots=True)
class Loaded:
    """The answer to load number ``serial``."""

    serial: int
    result: Snapshot | BaseException
    leases: Mapping[str, Lease | None] = field(default_factory=dict)
    """The present leases of the work of fenced reports."""


@dataclass(frozen=True, slots=True)
class Append:
    """Ask the journal to store ``write``; the answer goes to ``reply_to`` as Written.

    ``deaths``: the number of journals that died over it, so that it may be stored already. ``generation``: the one in
    which it was decided.
    """

    write: Write
    serial: int
    reply_to: Recipient
    deaths: int = 0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The store could not say. ``uncertain``: the write may be stored all the same."""

    error: BaseException
    uncertain: bool


@dataclass(frozen=True, slots=True)
class Written:
    """The journal's answer to append number ``serial``."""

    serial: int
    result: AppendResult | Unanswered


@dataclass(frozen=True, slots=True)
class Retry:
    """Time to try again what the store could not do."""


@dataclass(frozen=True, slots=True)
class Passivate:
    """Stop if idle."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Work leased to this process, for the supervisor to have done. ``claimed``: answer with Room when there is."""

    gateway: str
    items: tuple[WorkItem, ...]
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class SubmissionRecorded:
    """The submission of ``item`` is on record and may go out; None: it must not, and its slot is free."""

    gateway: str
    permit: Permit
    item: WorkItem | None


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A call is over and its slot is free. ``healthy``: the gateway answered, be it with a decline."""

    gateway: str
    permit: Permit
    healthy: bool


@dataclass(frozen=True, slots=True)
class AdmissionDue:
    """A gateway's breaker may let a probe through now."""

    gateway: str


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Ask the supervisor for the state of all gateways."""

    reply: Future[tuple[GatewayStatus, ...]]


@dataclass(frozen=True, slots=True)
class BreakerTransition:
    """The gateway's breaker, which stood at ``epoch``, came to ``state`` here: all processes are to know."""

    gateway: str
    epoch: int
    state: str


@dataclass(frozen=True, slots=True)
class ProbeWanted:
    """This process wants to probe the gateway, whose breaker stands at ``epoch``."""

    gateway: str
    epoch: int


@dataclass(frozen=True, slots=True)
class BreakerRecordRead:
    """How a gateway's breaker stands for all processes: so the store said when asked at ``asked_at``, monotonic."""

    record: BreakerRecord
    asked_at: float


@dataclass(frozen=True, slots=True)
class ApplyBreakerMode:
    """Have the gateway's breaker work as a person ordered. ``reply``: who waits for its state after that.

    ``seen``: how it stands for all processes, no older than the order.
    """

    mode: GatewayMode
    reply: Future[GatewayStatus] | None = None
    seen: BreakerRecordRead | None = None


@dataclass(frozen=True, slots=True)
class SetBreakerMode:
    """Keep a person's order for a gateway's breaker, then have it carried out."""

    mode: GatewayMode
    reply: Future[GatewayStatus]


@dataclass(frozen=True, slots=True)
class RetryDead:
    """Have the merchant's dead letters that fit done again now; the answer is how many they are."""

    merchant: str
    where: DeadLetterFilter
    reply: Future[int]


@dataclass(frozen=True, slots=True)
class Recovered:
    """The gateway answers again: what became of its open transactions can be asked now."""

    gateway: str


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """``item`` became a dead letter by the committed ``move``: re-sent when due (dead), or left to an operator."""

    item: WorkItem
    move: MoveWork


@dataclass(frozen=True, slots=True)
class ParkWork:
    """Park ``item``, which this process leases and no operation can read. ``problem`` is for operators."""

    item: WorkItem
    problem: str


@dataclass(frozen=True, slots=True)
class ResendDue:
    """A dead letter should be due now."""


@dataclass(frozen=True, slots=True)
class WorkDue:
    """There is queued or dead work of ``gateway`` that is due in ``delay_s`` seconds."""

    gateway: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class CapacityFree:
    """The supervisor can take more work of ``gateway``."""

    gateway: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The scheduler's timer for ``gateway``: work should be due now."""

    gateway: str


@dataclass(frozen=True, slots=True)
class ClaimDue:
    """Claim the work of ``gateway`` that is due now."""

    gateway: str


@dataclass(frozen=True, slots=True)
class LeasesRevoked:
    """All leases of this process are void: calls that wait for a slot must not be sent."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Admit nothing to gateways any more: this process stops."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The regular beat; ``of`` tells an actor's own from that of an actor before it."""

    of: int
