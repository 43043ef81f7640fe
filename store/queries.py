"""The reading roles of the store port: the reads of the API and the audit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

from domain.account import Balance, Status, Transaction
from domain.events import Kind
from domain.values import value
from store.ids import beyond_id, lowest_id
from store.keys import ApiKeyStore
from store.port import GATEWAYS, DeadLetterFilter, Feed, Head, Review, StoredEvent, StreamKey, WorkItem, WorkState
from store.relay_health import RelayHealth


class TransactionView(NamedTuple):
    """A transaction as clients see it. ``attention`` is None, ``dead_letter``, ``parked`` or ``review``."""

    transaction: Transaction
    attention: str | None


class CustomerView(NamedTuple):
    """The stream version and the balances of a customer, currencies ascending."""

    version: int
    balances: Sequence[tuple[str, Balance]]


class DeadLetter(NamedTuple):
    """A piece of work that failed too often, or that no handler can do; ``state`` is dead (due again) or parked.

    ``item.token`` is the present token: a fence with it holds until another process takes the work.
    ``item.transaction`` is None when there is none, or when its row cannot be read.
    """

    item: WorkItem
    transaction_id: str | None
    state: WorkState
    next_attempt_at: datetime | None
    """None when parked."""
    created_at: datetime


@value(frozen=True, slots=True)
class TransactionFilter:
    """A selection of transactions; None does not filter. ``created_to`` is exclusive."""

    customer_id: str | None = None
    status: Status | None = None
    gateway: str | None = None
    kind: Kind | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    parent_id: str | None = None
    gateway_reference: str | None = None
    correlation_id: str | None = None

    @property
    def narrowest(self) -> str | None:
        """The field of this filter that fewest transactions share; None when none of them is set."""
        narrow = ("gateway_reference", "parent_id", "correlation_id", "customer_id")
        return next((name for name in narrow if getattr(self, name) is not None), None)

    @property
    def statuses(self) -> Sequence[Status]:
        """The statuses that pass the filter."""
        return tuple(Status) if self.status is None else (self.status,)

    @property
    def kinds(self) -> Sequence[Kind]:
        """The kinds that pass the filter."""
        return tuple(Kind) if self.kind is None else (self.kind,)

    def ids_below(self, before: str | None) -> tuple[str, str | None]:
        """Return bounds of the ids below ``before`` that pass the filter: the lower, and the exclusive upper one."""
        lowest = "" if self.created_from is None else lowest_id(self.created_from)
        if self.created_to is None:
            return lowest, before
        beyond = beyond_id(self.created_to)
        return lowest, beyond if before is None else min(before, beyond)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ReviewKey(NamedTuple):
    """The unique and constant place of a review in the list."""

    opened_at: datetime
    review_id: str

    @property
    def text(self) -> str:
        """The key as text for ``from_text``: microseconds since 1970, a dot, the id."""
        return f"{(self.opened_at - _EPOCH) // timedelta(microseconds=1)}.{self.review_id}"

    @classmethod
    def from_text(cls, text: str) -> ReviewKey:
        """Read a key from its ``text``. Raises ValueError for any other text."""
        microseconds, dot, review_id = text.partition(".")
        if not (dot and review_id and microseconds.isascii() and microseconds.isdecimal()):
            raise ValueError(f"not the key of a review: {text!r}")
        try:
            return cls(_EPOCH + timedelta(microseconds=int(microseconds)), review_id)
        except OverflowError:
            raise ValueError(f"not the key of a review: {text!r}") from None


class ReviewView(NamedTuple):
    """A review and its stream."""

    stream: StreamKey
    review: Review

    @property
    def customer_id(self) -> str | None:
        """The customer concerned; None for a review of a gateway alone."""
        return None if self.stream.name == GATEWAYS else self.stream.id

    @property
    def gateway(self) -> str | None:
        """The gateway concerned; None for a review of an earlier version, whose event lacks it."""
        report = self.review.said or self.review.expected
        if report is not None:
            return report.gateway
        return self.stream.id if self.stream.name == GATEWAYS else None

    @property
    def key(self) -> ReviewKey:
        """Its place in the list."""
        return ReviewKey(self.review.opened_at, self.review.review_id)


class Unfinished(NamedTuple):
    """Unfinished work of one gateway in one state: the number of pieces, and the age of the oldest in seconds."""

    pieces: int
    oldest_s: float
    due: int = 0
    """The pieces that a processor may take now."""
    overdue_s: float = 0.0
    """Seconds since the oldest of these became due."""


_HELD: Final = frozenset({WorkState.LEASED, WorkState.PARKED})
"""The states of work that no process may take, however old its time is."""


class StoreStats(NamedTuple):
    """Counts of everything that waits, over all merchants."""

    unfinished: dict[tuple[str, str], Unfinished]
    """By (gateway, state), as in ``work_counts``. Queued lookups of authorizations have the state ``authorized``."""
    unknown: dict[str, int]
    """Transactions with the status ``unknown``, by gateway; 0 for a gateway that has only others."""
    open_reviews: int

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> StoreStats:
        """Make the counts from rows: ``work``, ``unknown`` or ``reviews``; gateway; state; count; age of the oldest.

        Rows of work also have the number of pieces whose time has come, and the seconds since the first of these times.
        """
        unfinished: dict[tuple[str, str], Unfinished] = {}
        unknown: dict[str, int] = {}
        open_reviews = 0
        for what, gateway, state, count, oldest_s, due, overdue_s in rows:
            match what:
                case "work":
                    dues = (0, 0.0) if state in _HELD else (int(due), max(overdue_s or 0.0, 0.0))
                    unfinished[gateway, state] = Unfinished(count, max(oldest_s, 0.0), *dues)  # clocks may be set back
                case "unknown":
                    unknown[gateway] = count
                case _:
                    open_reviews = count
        return cls(unfinished, unknown, open_reviews)


class Queries(ApiKeyStore, Protocol):
    """Reads of the API; each is one snapshot. Every method raises StoreUnavailableError."""

    def transaction(self, merchant: str, transaction_id: str) -> TransactionView | None:
        """Return the merchant's transaction with this id; None when there is none."""

    def transactions(
        self, merchant: str, where: TransactionFilter, *, before: str | None, limit: int
    ) -> Sequence[TransactionView]:
        """Return at most ``limit`` matching transactions of the merchant, newest first, with ids below ``before``."""

    def transactions_of(self, transaction_ids: Collection[str]) -> Mapping[str, Transaction]:
        """Return those of the transactions that exist, of any merchant, by their ids."""

    def customer(self, stream: StreamKey) -> CustomerView | None:
        """Return the customer; None when the stream has no events."""

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """Return at most ``limit`` events with versions above ``after``, ascending."""

    def all_events(self, merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """Return at most ``limit`` events with positions above ``after``, ascending.

        They are of the merchant's streams, or of all streams when ``merchant`` is None. The answer ends before the
        first position that may still be committed: a reader that continues after the last event never skips one.
        """

    def last_position(self) -> int:
        """Return the present end of ``all_events`` of all streams; 0 when there are none."""

    def newest_event(self, merchant: str) -> StoredEvent | None:
        """Return the present last event of ``all_events`` of the merchant's streams; None when there are none."""

    def feed(self) -> Feed:
        """See ``store.port.GenerationStore``; ``last`` is never below a position that ``all_events`` returned."""

    def review(self, merchant: str, review_id: str) -> ReviewView | None:
        """Return the review with this id; None when the merchant does not see it (``store.port.names_seen_by``)."""

    def reviews(
        self, merchant: str, state: str | None, *, before: ReviewKey | None, limit: int
    ) -> Sequence[ReviewView]:
        """Return at most ``limit`` reviews that the merchant sees, newest first, below ``before``.

        ``state`` is ``open``, ``closed``, or None for both.
        """

    def work_counts(self) -> dict[tuple[str, str], int]:
        """Return the number of unfinished pieces of work by (gateway, state)."""

    def stats(self) -> StoreStats:
        """Return the counts for operators. Reads all unfinished work, and only the counted rows of other tables."""

    def relay_health(self, name: str) -> RelayHealth:
        """Return how far the relay is behind. Reads one event, however many are not published."""

    def dead_letters(
        self, merchant: str, where: DeadLetterFilter, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """Return at most ``limit`` matching dead letters that the merchant sees, newest first.

        Work ids are descending and below ``before``. A dead letter with an unreadable row is listed as well.
        """

    def waiting_callbacks(
        self, merchant: str, queue: str | None, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """Return at most ``limit`` stored callbacks that wait for their transaction, as work, newest first.

        The merchant sees them; work ids are descending and below ``before``. ``queue`` is that of one gateway; None
        selects all.
        """

    def work(self, merchant: str, work_id: str) -> DeadLetter | None:
        """Return the piece of work with this id in any state, if the merchant sees it; else None.

        The work of a transaction has the id of the transaction.
        """

    def dead_letter(self, merchant: str, work_id: str) -> DeadLetter | None:
        """Return the dead letter with this id; None when the merchant does not see it, or when it is not dead now."""

    def ping(self) -> None:
        """Check with the cheapest read that the store answers."""


class Audit(Protocol):
    """The whole store in one snapshot, for ``verify``."""

    def missing(self) -> str | None:
        """Return evidence that the newest commits are missing; None when there is none."""

    def streams(self) -> Iterator[StreamKey]:
        """Yield every stream that has events, rows or a kept head, ascending."""

    def events(self, stream: StreamKey) -> Iterator[StoredEvent]:
        """Yield all events of a stream by ascending version."""

    def head(self, stream: StreamKey) -> Head:
        """Return the end of a stream, by its events."""

    def kept_head(self, stream: StreamKey) -> Head | None:
        """Return the head that appends continue from, if the store keeps it apart from the events; else None."""

    def transactions(self, stream: StreamKey) -> Sequence[Transaction]:
        """The read rows of a stream, ids ascending."""

    def balances(self, stream: StreamKey) -> Sequence[tuple[str, Balance]]:
        """The balance rows of a stream, currencies ascending."""

    def reviews(self, stream: StreamKey) -> Sequence[Review]:
        """The review rows of a stream, ids ascending."""

    def unfinished(self, stream: StreamKey) -> Sequence[str]:
        """Ids of the stream's transactions that have a work row, ascending."""


class Auditable(Protocol):
    """A store that can be audited while the service runs."""

    def audit(self) -> AbstractContextManager[Audit]:
        """One consistent view of everything."""
