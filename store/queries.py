"""What readers ask of the store: the API's answers and the audit. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

from domain.account import Balance, Status, Transaction
from domain.events import Kind
from store.ids import beyond_id, lowest_id
from store.keys import ApiKeyStore
from store.port import GATEWAYS, DeadLetterFilter, Feed, Head, Review, StoredEvent, StreamKey, WorkItem, WorkState


class TransactionView(NamedTuple):
    """A transaction as clients see it; ``attention``: None, ``dead_letter``, ``parked`` or ``review``."""

    transaction: Transaction
    attention: str | None


class CustomerView(NamedTuple):
    """A customer's stream version and balances, currencies ascending."""

    version: int
    balances: Sequence[tuple[str, Balance]]


class DeadLetter(NamedTuple):
    """A piece of work that failed too often, or that nobody can do; ``state`` is dead (due again) or parked.

    ``item.token`` is the work's at this moment: a fence with it holds only while nobody else takes the work up.
    ``item.transaction`` is None when there is none, or when its row cannot be read.
    """

    item: WorkItem
    transaction_id: str | None
    state: WorkState
    next_attempt_at: datetime | None
    """None when parked."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """Which transactions to list; None does not filter. ``created_to`` is exclusive."""

    customer_id: str | None = None
    status: Status | None = None
    gateway: str | None = None
    kind: Kind | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    @property
    def statuses(self) -> Sequence[Status]:
        """Those that it lets through."""
        return tuple(Status) if self.status is None else (self.status,)

    @property
    def kinds(self) -> Sequence[Kind]:
        """Those that it lets through."""
        return tuple(Kind) if self.kind is None else (self.kind,)

    def ids_below(self, before: str | None) -> tuple[str, str | None]:
        """All that it lets through below ``before`` has an id not below the first answer, and below the second."""
        lowest = "" if self.created_from is None else lowest_id(self.created_from)
        if self.created_to is None:
            return lowest, before
        beyond = beyond_id(self.created_to)
        return lowest, beyond if before is None else min(before, beyond)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ReviewKey(NamedTuple):
    """The place of a review in the list, which never changes and which no other has."""

    opened_at: datetime
    review_id: str

    @property
    def text(self) -> str:
        """For ``from_text``: microseconds since 1970, a dot, the id."""
        return f"{(self.opened_at - _EPOCH) // timedelta(microseconds=1)}.{self.review_id}"

    @classmethod
    def from_text(cls, text: str) -> ReviewKey:
        """Raises ValueError for what is no ``text`` of a key."""
        microseconds, dot, review_id = text.partition(".")
        if not (dot and review_id and microseconds.isascii() and microseconds.isdecimal()):
            raise ValueError(f"not the key of a review: {text!r}")
        try:
            return cls(_EPOCH + timedelta(microseconds=int(microseconds)), review_id)
        except OverflowError:
            raise ValueError(f"not the key of a review: {text!r}") from None


class ReviewView(NamedTuple):
    """A review and the stream that it is in."""

    stream: StreamKey
    review: Review

    @property
    def customer_id(self) -> str | None:
        """The customer whom it is about; None when it is about a gateway only."""
        return None if self.stream.name == GATEWAYS else self.stream.id

    @property
    def gateway(self) -> str | None:
        """The gateway concerned; None for a review of an earlier version, whose event lacks it."""
        told = self.review.said or self.review.expected
        if told is not None:
            return told.gateway
        return self.stream.id if self.stream.name == GATEWAYS else None

    @property
    def key(self) -> ReviewKey:
        """Its place in the list."""
        return ReviewKey(self.review.opened_at, self.review.review_id)


class Unfinished(NamedTuple):
    """Unfinished work of one gateway in one state: how much, and how many seconds ago the oldest of it was opened."""

    pieces: int
    oldest_s: float


class StoreStats(NamedTuple):
    """How much of everything that waits there is, of all merchants together."""

    unfinished: dict[tuple[str, str], Unfinished]
    """By (gateway, state), as in ``work_counts``."""
    unknown: dict[str, int]
    """Transactions with the status ``unknown``, by gateway; 0 for one that has others."""
    open_reviews: int

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> StoreStats:
        """What the adapters read: rows of ``work``, ``unknown`` or ``reviews``, gateway, state, count, oldest."""
        unfinished: dict[tuple[str, str], Unfinished] = {}
        unknown: dict[str, int] = {}
        open_reviews = 0
        for what, gateway, state, count, oldest_s in rows:
            match what:
                case "work":
                    unfinished[gateway, state] = Unfinished(count, max(oldest_s, 0.0))  # clocks may be set back
                case "unknown":
                    unknown[gateway] = count
                case _:
                    open_reviews = count
        return cls(unfinished, unknown, open_reviews)


class Queries(ApiKeyStore, Protocol):
    """Reads for the API; each is one snapshot. Raises StoreUnavailableError."""

    def transaction(self, merchant: str, transaction_id: str) -> TransactionView | None:
        """The merchant's transaction of that id."""

    def transactions(
        self, merchant: str, where: TransactionFilter, *, before: str | None, limit: int
    ) -> Sequence[TransactionView]:
        """Newest first, at most ``limit``, only ids below ``before``."""

    def customer(self, stream: StreamKey) -> CustomerView | None:
        """None for a customer without events."""

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """Ascending versions above ``after``."""

    def all_events(self, merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """Ascending positions above ``after``, of the merchant's streams, or of all streams when that is None.

        Ends before the first position that may still be committed: whoever goes on from the last one that it got never
        skips an event.
        """

    def last_position(self) -> int:
        """Where ``all_events`` of all streams ends now; 0 when there are none."""

    def newest_event(self, merchant: str) -> StoredEvent | None:
        """The last event of ``all_events`` of the merchant's streams now; None when there are none."""

    def feed(self) -> Feed:
        """See ``store.port.Store``; its ``last`` is never below what ``all_events`` has shown."""

    def review(self, merchant: str, review_id: str) -> ReviewView | None:
        """The review of that id, if the merchant sees it (``store.port.names_seen_by``), as in all lists below."""

    def reviews(
        self, merchant: str, state: str | None, *, before: ReviewKey | None, limit: int
    ) -> Sequence[ReviewView]:
        """The reviews that the merchant sees, newest first, below ``before``, at most ``limit``.

        ``state`` is ``open``, ``closed``, or None for both.
        """

    def work_counts(self) -> dict[tuple[str, str], int]:
        """Pieces of unfinished work by (gateway, state)."""

    def stats(self) -> StoreStats:
        """What operators watch. Reads all unfinished work, and of anything else no more than it counts."""

    def dead_letters(
        self, merchant: str, where: DeadLetterFilter, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """The dead letters that the merchant sees and that fit, at most ``limit``.

        Work ids descending (newest first) below ``before``.

        One whose row cannot be read in full is listed all the same.
        """

    def waiting_callbacks(
        self, merchant: str, queue: str | None, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """The stored callbacks that the merchant sees and that wait for their transaction, as work, at most ``limit``.

        Work ids descending (newest first) below ``before``; of one gateway's ``queue``, or of all when that is None.
        """

    def work(self, merchant: str, work_id: str) -> DeadLetter | None:
        """The piece of work of that id, in whatever state, if he sees it; a transaction's goes by the id of that."""

    def dead_letter(self, merchant: str, work_id: str) -> DeadLetter | None:
        """The dead letter of that id, if the merchant sees it; None as well when it is not dead now."""

    def ping(self) -> None:
        """Do the least that shows that the store answers."""


class Audit(Protocol):
    """The whole store in one snapshot, for ``verify``."""

    def missing(self) -> str | None:
        """Evidence that the newest commits are missing from the data; None when there is none."""

    def streams(self) -> Iterator[StreamKey]:
        """Every stream that has events, rows or a kept head, ascending."""

    def events(self, stream: StreamKey) -> Iterator[StoredEvent]:
        """All events of a stream by ascending version."""

    def head(self, stream: StreamKey) -> Head:
        """The stream's end, of its events."""

    def kept_head(self, stream: StreamKey) -> Head | None:
        """The head that appends go on from, where the store keeps that apart from the events."""

    def transactions(self, stream: StreamKey) -> Sequence[Transaction]:
        """The read rows of a stream, ids ascending."""

    def balances(self, stream: StreamKey) -> Sequence[tuple[str, Balance]]:
        """The balance rows of a stream, currencies ascending."""

    def reviews(self, stream: StreamKey) -> Sequence[Review]:
        """The review rows of a stream, ids ascending."""

    def unfinished(self, stream: StreamKey) -> Sequence[str]:
        """Ids of the stream's transactions that have a work row, ascending."""


class Auditable(Protocol):
    """A store that can be audited beside the running service."""

    def audit(self) -> AbstractContextManager[Audit]:
        """One consistent view of everything."""
