"""The store port: what one write carries, how it may end, and how work is claimed.

An adapter promises: a write is stored whole or not at all; ``(stream name, stream id, version)`` is unique;
whatever ``append`` answers is durable; appending the same write again answers as if it were the first time.
What readers ask stands in ``store.queries``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple, Protocol

from domain.account import Account, Balance, Transaction
from domain.said import Expected, Said


class StreamKey(NamedTuple):
    """The stream of one customer: ``name`` is the merchant whose customer it is, ``id`` the customer's id."""

    name: str
    id: str


GENESIS: Final = bytes(32)
"""The hash that a stream's first event continues."""


GATEWAYS: Final = "gateways"
"""The name of the streams that belong to no customer but to a gateway: their ids are the gateways' names."""


DEFAULT_MERCHANT: Final = "main"
"""The merchant of whoever calls where no API keys are needed. What belongs to a gateway alone is its affair."""


def names_seen_by(merchant: str) -> tuple[str, ...]:
    """The names of the streams in which a merchant's operators see work and reviews."""
    return (merchant, GATEWAYS) if merchant == DEFAULT_MERCHANT else (merchant,)


class Head(NamedTuple):
    """The end of a stream: its last version (0 when empty) and that event's hash."""

    version: int = 0
    hash: bytes = GENESIS


class EncodedEvent(NamedTuple):
    """An event as it is stored: ``body`` are the canonical bytes, ``hash`` covers them and the hash before."""

    event_id: str
    version: int
    type: str
    body: bytes
    hash: bytes


class StoredEvent(NamedTuple):
    """An encoded event in its stream, with its place in the global order."""

    position: int
    stream: StreamKey
    event_id: str
    version: int
    type: str
    body: bytes
    hash: bytes


class Claim(NamedTuple):
    """Something that may happen once: ``key`` is unique within ``scope``; ``value`` says what took it."""

    scope: str
    key: str
    value: bytes

    def __repr__(self) -> str:
        """Without the value, which may be what a provider sent."""
        return f"Claim({self.scope!r}, {self.key!r})"


class WorkState(StrEnum):
    """Who has a piece of work: nobody yet, a process, the dead letters' timer, or a person."""

    QUEUED = "queued"
    LEASED = "leased"
    DEAD = "dead"
    PARKED = "parked"


class Action(StrEnum):
    """What is to be done."""

    SUBMIT = "submit"
    """Send the transaction to its gateway."""
    RESOLVE = "resolve"
    """Find out what became of the transaction."""
    APPLY = "apply"
    """Do what a stored callback says."""


class DeliveryCertainty(IntEnum):
    """Whether the provider may have got an attempt whose outcome nobody knows. A higher one includes the lower."""

    NOT_SENT = 0
    """Every attempt so far surely never reached it, or there was none."""
    LEASE_LOST = 1
    """Whoever had the work died, or was held for dead, without a word: it may have sent what needs no record before."""
    SENT = 2
    """On record: an attempt was about to go out, or went out, and what came of it is not known."""


class WorkError(NamedTuple):
    """One failed attempt, for people."""

    at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class OpenWork:
    """A new piece of work with token 1, leased to ``owner`` at once, or queued for anybody when that is None.

    Queued as well when the owner is not registered (any more): nobody would miss its heartbeat. Then it is in doubt,
    at least ``DeliveryCertainty.LEASE_LOST``: whoever believes that it got it may send it.
    """

    work_id: str
    transaction_id: str | None
    gateway: str
    action: Action
    event_type: str
    owner: str | None
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class MoveWork:
    """What becomes of a piece of work that goes on: due again ``delay_s`` from now. Its token goes up by one.

    ``state`` leased keeps the lease of the owner that has it; if nobody has it, it is queued.
    """

    work_id: str
    action: Action
    state: WorkState
    delay_s: float
    attempts: int
    errors: tuple[WorkError, ...]
    certainty: DeliveryCertainty = DeliveryCertainty.NOT_SENT


@dataclass(frozen=True, slots=True)
class CloseWork:
    """The piece of work is done."""

    work_id: str


WorkChange = OpenWork | MoveWork | CloseWork


class Fence(NamedTuple):
    """The write holds only while the work still carries this token; else somebody else has it by now."""

    work_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one command adds to a write."""

    events: tuple[EncodedEvent, ...] = ()
    claims: tuple[Claim, ...] = ()
    fence: Fence | None = None
    work: tuple[WorkChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """A row for people: something contradicts the record. ``said``, ``expected``: see ``ReviewOpened``."""

    review_id: str
    transaction_id: str | None
    reason: str
    state: str
    opened_at: datetime
    closed_at: datetime | None
    said: Said | None = None
    expected: Expected | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """The parts of several commands of one customer, all or nothing, and the read rows as they are after them.

    ``head`` is where the writer believes the stream ends; the first event's version is the next one. A write
    without events ignores the head, unless it has to ``confirm``: then the head must be in the stream, and this commit
    makes everything committed before as durable as itself, on replicas as well.
    """

    stream: StreamKey
    head: Head
    parts: tuple[Part, ...]
    transactions: tuple[Transaction, ...] = ()
    balances: tuple[tuple[str, Balance], ...] = ()
    reviews: tuple[Review, ...] = ()
    confirm: bool = False


class Committed(NamedTuple):
    """Durable."""


class Conflict(NamedTuple):
    """Nothing stored: the stream goes on after the writer's head, with ``missed`` (the first few hundred).

    Without any when the writer's head was never in the stream: then only loading again helps.
    """

    missed: tuple[StoredEvent, ...]


class Duplicate(NamedTuple):
    """Nothing stored: part number ``part`` claims what ``claim`` already holds."""

    part: int
    claim: Claim


class Fenced(NamedTuple):
    """Nothing stored: part number ``part`` carries a stale token."""

    part: int


AppendResult = Committed | Conflict | Duplicate | Fenced


class Snapshot(NamedTuple):
    """A customer at one instant: where the stream ends, and the account without the transactions not asked for."""

    head: Head
    account: Account


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A piece of work leased to the caller under ``token``."""

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
    """The state of a piece of work: its token, and the owner that leases it, if any."""

    token: int
    owner: str | None


TOKENS_APART: Final = 1 << 20
"""The amount by which each generation raises tokens and epochs, above all that processes of the one before know."""


class Feed(NamedTuple):
    """The store's generation, and the last position assigned in it."""

    generation: int
    last: int


class DeadLetterFilter(NamedTuple):
    """Which dead letters are meant; None does not filter. ``state`` is dead or parked."""

    gateway: str | None = None
    state: WorkState | None = None
    work_id: str | None = None

    @property
    def states(self) -> Sequence[WorkState]:
        """Those that it lets through."""
        return (WorkState.DEAD, WorkState.PARKED) if self.state is None else (self.state,)


class GatewayMode(NamedTuple):
    """What a person ordered of a gateway's breaker: ``mode`` is ``open``, ``closed`` or ``auto``."""

    gateway: str
    mode: str
    reason: str


BREAKER_REST_SLACK_S: Final = 0.001
"""So much less than its sleep is enough for a breaker to be probed: clocks are read and rounded more than once."""


class BreakerRecord(NamedTuple):
    """A gateway's circuit breaker as all processes share it; times by the store's clock, as of the answer.

    ``epoch`` goes up by one with each change; 0: it has never changed.
    """

    gateway: str
    epoch: int = 0
    state: str = "closed"
    """``closed``, ``open``, or ``half_open``: ``prober`` may make one call."""
    age_s: float = 0.0
    """Seconds since the change, never below zero."""
    prober: str | None = None
    """The owner that has the probe."""
    probe_left_s: float = 0.0
    """For so many seconds its permit still holds, never below zero."""


class Store(Protocol):
    """Everything that changes the store, and the consistent reads that a change needs. Safe for many threads.

    Every method raises StoreUnavailableError when the database does not answer.
    """

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """Commit ``writes`` together and answer each on its own, in their order.

        A conflicting, duplicate or fenced write stores nothing and touches no other; later writes see earlier ones.
        A conflict is told before anything else, then the first part's duplicate claim, then its fence. A
        repeated write is recognised by its event ids; without events by its claims, if every part has some and all are
        held by equal values. Every answer is as durable as a commit, on replicas as well.
        Raises UnstorableError when one of them cannot be stored (nothing is, then) and CommitUncertainError.
        """

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """The customer and those of the named transactions that exist, in one snapshot."""

    def stream_of(self, transaction_id: str) -> StreamKey | None:
        """The stream of the customer, of any merchant, whose transaction has this id; None when there is none."""

    def lease(self, work_id: str) -> Lease | None:
        """The present state of the piece of work; None when there is none."""

    def holds(self, stream: StreamKey, version: int, event_id: str) -> bool:
        """Whether this event is on record under this version of the stream."""

    def feed(self) -> Feed:
        """The generation and the last position assigned, in one snapshot.

        The generation goes up with each restore of the store to an earlier state.
        """

    def begin_generation(self, seen: int) -> int:
        """Begin the generation after ``seen``, unless there is a later one already; returns the newest.

        From then on all unfinished work counts as possibly sent (``DeliveryCertainty.SENT``). Its leases are void and
        due at once. Its tokens, and the epochs of breakers, go up by ``TOKENS_APART`` for each generation since the
        newest on record, lost ones included. No owner is registered any more. Repeating the call changes nothing.
        Raises CommitUncertainError.
        """

    def register_owner(self, owner: str) -> None:
        """Begin to hold leases as ``owner``."""

    def heartbeat(self, owner: str) -> bool:
        """Say that ``owner`` lives. False when it is held for dead: its leases are others' by now."""

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """Give up ``owner`` and queue all that it leases; how many that were.

        Unless all of that is surely ``unsent``, it is in doubt afterwards: at least ``DeliveryCertainty.LEASE_LOST``.
        """

    def release_dead(self, lease_s: float) -> int:
        """Queue the work of owners whose heartbeat is older than ``lease_s``, and forget them; how much that was.

        It is in doubt afterwards: at least ``DeliveryCertainty.LEASE_LOST``.
        """

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """Lease up to ``limit`` pieces of the gateway's work that are due to ``owner``, oldest due first."""

    def next_due_s(self, gateway: str) -> float | None:
        """Seconds until the gateway's next queued or dead work is due (0 when some is); None when there is none."""

    def clock_set_back(self, lost_s: float) -> int:
        """This host's wall clock went back by ``lost_s``: what is to be due stays as far away as it was; how much is.

        Nothing where the times are a server's.
        """

    def limit_dues(self, max_s: float) -> int:
        """Let nothing be due further away than ``max_s``: a wrong clock had planned it; how much was.

        Nothing where the times are a server's.
        """

    def hasten_lookups(self, gateway: str) -> int:
        """Make all lookups (``Action.RESOLVE``) of the gateway that wait due now; how many that were.

        Those that were not due yet are made in addition to their schedule: their attempts go down by one (not below 0).
        """

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """Queue the dead letters (dead, parked) that the merchant sees and that fit, due now, under new tokens.

        Answers how many that were.
        Attempts, errors and doubt stay.
        """

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """What was ordered last of each gateway's breaker; gateways of which nothing was ordered are left out."""

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """Keep an order, in place of an earlier one for the same gateway."""

    def breakers(self) -> dict[str, BreakerRecord]:
        """The gateways' breakers that have ever changed."""

    def turn_breaker(self, gateway: str, epoch: int, state: str) -> BreakerRecord:
        """Have the breaker that stands at ``epoch`` be ``closed`` or ``open``; how it stands afterwards.

        Whoever named the epoch first has changed it; doing the same again changes nothing more. Raises
        UnstorableError for another state, and CommitUncertainError.
        """

    def take_probe(self, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """Let ``owner`` probe for ``permit_s`` if the breaker stands at ``epoch`` and slept; how it stands afterwards.

        It slept when it has been open for ``sleep_s``, or half-open for that long after the probe's permit expired:
        a probe that says nothing has failed. No clock that was set back keeps it from that for more than as long
        again. Doing the same again changes nothing more. Raises CommitUncertainError.
        """

    def close(self) -> None:
        """Close all connections."""


Offload = Callable[[Callable[[], None]], None]
"""Runs a blocking call in C where it does not stop other greenlets, and returns when it is done."""


def run_directly(job: Callable[[], None]) -> None:
    """The Offload for real threads and tests: just run it."""
    job()
