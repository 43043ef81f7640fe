"""The reads of the API on one SQLite file. It only composes the modules of this package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from domain.account import Transaction
from store.keys import ApiKey
from store.port import DeadLetterFilter, Feed, StoredEvent, StreamKey
from store.queries import (
    CustomerView,
    DeadLetter,
    ReviewKey,
    ReviewView,
    StoreStats,
    TransactionFilter,
    TransactionView,
)
from store.relay_health import RelayHealth
from store.sqlite import keys, reads, relays
from store.sqlite.connection import Readers
from store.sqlite.rows import to_us


class SqliteQueries:
    """Implements ``store.queries.Queries`` on reading connections."""

    def __init__(self, readers: Readers, clock: Callable[[], datetime]) -> None:
        self._readers = readers
        self._clock = clock

    def transaction(self, merchant: str, transaction_id: str) -> TransactionView | None:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.transaction(cursor, merchant, transaction_id)

    def transactions(
        self, merchant: str, where: TransactionFilter, *, before: str | None, limit: int
    ) -> Sequence[TransactionView]:
        """See ``store.queries.Queries``."""
        with self._readers.snapshot() as cursor:
            return reads.transactions(cursor, merchant, where, before, limit)

    def transactions_of(self, transaction_ids: Collection[str]) -> Mapping[str, Transaction]:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.transactions_of(cursor, transaction_ids)

    def customer(self, stream: StreamKey) -> CustomerView | None:
        """See ``store.queries.Queries``."""
        with self._readers.snapshot() as cursor:
            return reads.customer(cursor, stream)

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.stream_events(cursor, stream, after, limit)

    def all_events(self, merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.all_events(cursor, merchant, after, limit)

    def last_position(self) -> int:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.last_position(cursor)

    def newest_event(self, merchant: str) -> StoredEvent | None:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.newest_event(cursor, merchant)

    def review(self, merchant: str, review_id: str) -> ReviewView | None:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.review(cursor, merchant, review_id)

    def reviews(
        self, merchant: str, state: str | None, *, before: ReviewKey | None, limit: int
    ) -> Sequence[ReviewView]:
        """See ``store.queries.Queries``."""
        with self._readers.snapshot() as cursor:
            return reads.reviews(cursor, merchant, state, before, limit)

    def work_counts(self) -> dict[tuple[str, str], int]:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.work_counts(cursor)

    def stats(self) -> StoreStats:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return reads.stats(cursor, self._now_us())

    def relay_health(self, name: str) -> RelayHealth:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return relays.health(cursor, name, self._now_us())

    def dead_letters(
        self, merchant: str, where: DeadLetterFilter, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """See ``store.queries.Queries``."""
        with self._readers.snapshot() as cursor:
            return reads.dead_letters(cursor, merchant, where, before, limit)

    def waiting_callbacks(
        self, merchant: str, queue: str | None, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """See ``store.queries.Queries``."""
        with self._readers.snapshot() as cursor:
            return reads.waiting_callbacks(cursor, merchant, queue, before, limit)

    def work(self, merchant: str, work_id: str) -> DeadLetter | None:
        """See ``store.queries.Queries``."""
        with self._readers.snapshot() as cursor:
            return reads.work(cursor, merchant, work_id)

    def dead_letter(self, merchant: str, work_id: str) -> DeadLetter | None:
        """See ``store.queries.Queries``."""
        with self._readers.snapshot() as cursor:
            return reads.dead_letter(cursor, merchant, work_id)

    def api_key(self, key_id: str) -> ApiKey | None:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return keys.find(cursor, key_id, self._now_us())

    def has_api_keys(self) -> bool:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            return keys.any_live(cursor, self._now_us())

    def ping(self) -> None:
        """See ``store.queries.Queries``."""
        with self._readers.cursor() as cursor:
            reads.ping(cursor)

    def feed(self) -> Feed:
        """See ``store.port.GenerationStore``."""
        with self._readers.cursor() as cursor:
            return reads.feed(cursor)

    def _now_us(self) -> int:
        return to_us(self._clock())
