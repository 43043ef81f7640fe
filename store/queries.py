"""What readers ask of the store: the API's answers and the audit. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.account import Balance, Status, Transaction
from domain.events import Kind
from store.port import DeadLetterFilter, Head, Review, StoredEvent, StreamKey, WorkItem, WorkState


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


class Queries(Protocol):
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

    def work_counts(self) -> dict[tuple[str, str], int]:
        """Pieces of unfinished work by (gateway, state)."""

    def dead_letters(
        self, merchant: str, where: DeadLetterFilter, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """The merchant's dead letters that fit, work ids descending (newest first) below ``before``, at most ``limit``.

        One whose row cannot be read in full is listed all the same.
        """

    def dead_letter(self, merchant: str, work_id: str) -> DeadLetter | None:
        """The merchant's dead letter of that id; None as well when the work is not dead (any more)."""

    def ping(self) -> None:
        """Do the least that shows that the store answers."""


class Audit(Protocol):
    """The whole store in one snapshot, for ``verify``."""

    def streams(self) -> Iterator[StreamKey]:
        """Every stream that has events or rows, ascending."""

    def events(self, stream: StreamKey) -> Iterator[StoredEvent]:
        """All events of a stream by ascending version."""

    def head(self, stream: StreamKey) -> Head:
        """The stream's end."""

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
