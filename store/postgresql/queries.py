"""The reads of the API on one PostgreSQL database. It only composes the modules of this package."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from domain.account import Transaction
from store.keys import ApiKey
from store.port import DeadLetterFilter, Feed, StoredEvent, StreamKey
from store.postgresql import keys, reads, relays
from store.postgresql.sessions import Sessions
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


class PostgresqlQueries:
    """Implements ``store.queries.Queries`` on a pool of connections."""

    def __init__(self, reading: Sessions) -> None:
        self._reading = reading

    def transaction(self, merchant: str, transaction_id: str) -> TransactionView | None:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.transaction(session, merchant, transaction_id))

    def transactions(
        self, merchant: str, where: TransactionFilter, *, before: str | None, limit: int
    ) -> Sequence[TransactionView]:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.transactions(session, merchant, where, before, limit))

    def transactions_of(self, transaction_ids: Collection[str]) -> Mapping[str, Transaction]:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.transactions_of(session, transaction_ids))

    def customer(self, stream: StreamKey) -> CustomerView | None:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.customer(session, stream))

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.stream_events(session, stream, after, limit))

    def all_events(self, merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.all_events(session, merchant, after, limit))

    def last_position(self) -> int:
        """See ``store.queries.Queries``."""
        return self._reading.read(reads.last_position)

    def newest_event(self, merchant: str) -> StoredEvent | None:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.newest_event(session, merchant))

    def review(self, merchant: str, review_id: str) -> ReviewView | None:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.review(session, merchant, review_id))

    def reviews(
        self, merchant: str, state: str | None, *, before: ReviewKey | None, limit: int
    ) -> Sequence[ReviewView]:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.reviews(session, merchant, state, before, limit))

    def work_counts(self) -> dict[tuple[str, str], int]:
        """See ``store.queries.Queries``."""
        return self._reading.read(reads.work_counts)

    def stats(self) -> StoreStats:
        """See ``store.queries.Queries``."""
        return self._reading.read(reads.stats)

    def relay_health(self, name: str) -> RelayHealth:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: relays.health(session, name))

    def dead_letters(
        self, merchant: str, where: DeadLetterFilter, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.dead_letters(session, merchant, where, before, limit))

    def waiting_callbacks(
        self, merchant: str, queue: str | None, *, before: str | None, limit: int
    ) -> Sequence[DeadLetter]:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.waiting_callbacks(session, merchant, queue, before, limit))

    def work(self, merchant: str, work_id: str) -> DeadLetter | None:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.work(session, merchant, work_id))

    def dead_letter(self, merchant: str, work_id: str) -> DeadLetter | None:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: reads.dead_letter(session, merchant, work_id))

    def api_key(self, key_id: str) -> ApiKey | None:
        """See ``store.queries.Queries``."""
        return self._reading.read(lambda session: keys.find(session, key_id))

    def has_api_keys(self) -> bool:
        """See ``store.queries.Queries``."""
        return self._reading.read(keys.any_live)

    def ping(self) -> None:
        """See ``store.queries.Queries``."""
        self._reading.read(reads.ping)

    def feed(self) -> Feed:
        """See ``store.port.GenerationStore``."""
        return self._reading.read(reads.feed)
