"""The store port on one SQLite file. It only composes the modules of this package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import apsw

from domain.events import VOCABULARY
from store.errors import StoreError, UnstorableError, storable
from store.port import (
    AppendResult,
    BreakerRecord,
    Claim,
    Committed,
    DeadLetterFilter,
    DeliveryCertainty,
    GatewayMode,
    Lease,
    Load,
    Offload,
    QueuedWork,
    RelayCheckpoint,
    RelayLease,
    RelayRefusal,
    Snapshot,
    StreamKey,
    WorkItem,
    Write,
    run_directly,
)
from store.queries import Audit
from store.sqlite import breakers, reads, relays, work
from store.sqlite.append import Appender
from store.sqlite.audit import open_audit
from store.sqlite.batch import DEFINITION, INSERT, AppendValues
from store.sqlite.connection import Readers
from store.sqlite.lock import StoreLock
from store.sqlite.queries import SqliteQueries
from store.sqlite.write_connection import WriteConnection

_READERS: Final = 4
"""Connections that read, beside the one that writes."""


class SqliteStore(SqliteQueries):
    """Implements ``store.port.Store`` and ``store.queries.Auditable`` in addition to the queries.

    The file must be migrated: raises SchemaError otherwise, and StoreUnavailableError when it cannot be opened. SQLite
    has no clock that processes share, so ``clock`` measures leases. ``lock`` makes this process the service, of which
    there is one per file (``store.sqlite.lock``): the file is marked as in use while the store is open. ``vfs`` names a
    virtual file system of SQLite for the writing connection; tests inject faults there.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], datetime],
        offload: Offload = run_directly,
        synchronous: str = "FULL",
        vfs: str | None = None,
        lock: StoreLock | None = None,
    ) -> None:
        self._path = path
        self._is_service = lock is not None
        locked = None if lock is None else lock.locked
        self._writer = WriteConnection(path, offload=offload, synchronous=synchronous, vfs=vfs, locked=locked)
        try:
            self._writer.define(DEFINITION)
            if self._is_service:
                self._writer.take_into_use()
        except BaseException:
            self._writer.close()
            raise
        super().__init__(Readers(self._writer.open_reader, _READERS, self._writer.guard.check_database), clock)

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See ``store.port.Store``; one COMMIT for all."""
        now_us = self._now_us()
        with storable():
            batch = AppendValues(writes, now_us)
        if batch.independent and not any(write.confirm for write in writes):
            try:
                self._writer.run_statement(INSERT, batch.values)
            except UnstorableError:
                pass  # or a write that is not as expected: the job below answers each on its own
            else:
                return [Committed()] * len(writes)

        def job(cursor: apsw.Cursor) -> list[AppendResult]:
            append = Appender(cursor, now_us).append
            return [append(write) for write in writes]

        return self._writer.run(job)

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See ``store.port.Store``."""
        # A single statement is a snapshot as well, and takes a third of the time.
        with self._readers.snapshot() if transaction_ids else self._readers.cursor() as cursor:
            return reads.load(cursor, stream, transaction_ids)

    def load_many(self, loads: Sequence[Load]) -> list[Snapshot]:
        """See ``store.port.Store``; one after the other, because no load has a round trip that they could share."""
        return [self.load(*one) for one in loads]

    def stream_of(self, transaction_id: str) -> StreamKey | None:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return reads.stream_of(cursor, transaction_id)

    def lease(self, work_id: str) -> Lease | None:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return reads.lease(cursor, work_id)

    def claimed(self, scope: str, key: str) -> Claim | None:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return reads.claimed(cursor, scope, key)

    def holds(self, stream: StreamKey, version: int, event_id: str) -> bool:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return reads.holds(cursor, stream, version, event_id)

    def begin_generation(self, seen: int) -> int:
        """See ``store.port.Store``."""
        return self._writer.run(lambda cursor: work.begin_generation(cursor, seen, self._now_us()))

    def register_owner(self, owner: str, vocabulary: int = VOCABULARY) -> None:
        """See ``store.port.Store``."""
        self._writer.run(lambda cursor: work.register(cursor, owner, vocabulary, self._now_us()))

    def vocabulary_floor(self) -> int:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return reads.vocabulary_floor(cursor)

    def heartbeat(self, owner: str) -> bool:
        """See ``store.port.Store``."""
        return self._writer.run(lambda cursor: work.beat(cursor, owner, self._now_us()))

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """See ``store.port.Store``; the queued work is due at once."""
        certainty = DeliveryCertainty.NOT_SENT if unsent else DeliveryCertainty.LEASE_LOST
        return self._writer.run(lambda cursor: work.retire(cursor, owner, self._now_us(), certainty))

    def release_dead(self, lease_s: float) -> int:
        """See ``store.port.Store``; the queued work is due at once."""
        silent_us = round(lease_s * 1_000_000)
        with self._readers.cursor() as cursor:
            if not work.dead_owners(cursor, self._now_us(), silent_us):
                return 0  # the usual case, which costs the writing connection nothing

        def job(cursor: apsw.Cursor) -> int:
            now_us = self._now_us()
            dead = work.dead_owners(cursor, now_us, silent_us)
            return sum(work.retire(cursor, owner, now_us, DeliveryCertainty.LEASE_LOST) for owner in dead)

        return self._writer.run(job)

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See ``store.port.Store``; an owner that is not registered gets nothing."""
        if self.next_due_s(gateway) != 0:
            return []  # a frequent case, which costs the writing connection nothing
        return self._writer.run(lambda cursor: work.claim(cursor, owner, gateway, limit, self._now_us()))

    def next_due_s(self, gateway: str) -> float | None:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            due_us = reads.first_due_us(cursor, gateway)
        return None if due_us is None else max(0.0, (due_us - self._now_us()) / 1_000_000)

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return reads.queued_due(cursor, gateways, self._now_us(), limit)

    def clock_set_back(self, lost_s: float) -> int:
        """See ``store.port.Store``."""
        return self._writer.run(lambda cursor: work.set_dues_back(cursor, round(lost_s * 1_000_000)))

    def limit_dues(self, max_s: float) -> int:
        """See ``store.port.Store``."""
        latest_us = self._now_us() + round(max_s * 1_000_000)
        return self._writer.run(lambda cursor: work.limit_dues(cursor, latest_us))

    def hasten_lookups(self, gateway: str) -> int:
        """See ``store.port.Store``; lookups that are due already do not count."""
        return self._writer.run(lambda cursor: work.hasten_lookups(cursor, gateway, self._now_us()))

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """See ``store.port.Store``."""
        return self._writer.run(lambda cursor: work.retry_dead(cursor, merchant, where, self._now_us()))

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return reads.gateway_modes(cursor)

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """See ``store.port.Store``; raises UnstorableError for an unknown mode."""
        self._writer.run(lambda cursor: work.set_mode(cursor, mode, self._now_us()))

    def breakers(self) -> dict[str, BreakerRecord]:
        """See ``store.port.Store``."""
        with self._readers.cursor() as cursor:
            return breakers.records(cursor, self._now_us())

    def turn_breaker(self, gateway: str, epoch: int, state: str) -> BreakerRecord:
        """See ``store.port.Store``."""
        return self._writer.run(lambda cursor: breakers.turn(cursor, gateway, epoch, state, self._now_us()))

    def take_probe(self, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """See ``store.port.Store``."""
        return self._writer.run(
            lambda cursor: breakers.take_probe(
                cursor, gateway, epoch, owner, sleep_s=sleep_s, permit_s=permit_s, now_us=self._now_us()
            )
        )

    def lead(self, name: str, owner: str, lease_s: float) -> RelayLease | None:
        """See ``store.port.RelayStore``."""
        return self._writer.run(lambda cursor: relays.lead(cursor, name, owner, lease_s, self._now_us()))

    def advance(self, name: str, token: int, position: int, generation: int) -> bool:
        """See ``store.port.RelayStore``."""
        return self._writer.run(lambda cursor: relays.advance(cursor, name, token, position, generation))

    def note_refusal(self, name: str, token: int, position: int, reason: str) -> bool:
        """See ``store.port.RelayStore``."""
        return self._writer.run(
            lambda cursor: relays.note_refusal(cursor, name, token, RelayRefusal(position, reason, 0.0), self._now_us())
        )

    def resign(self, name: str, owner: str) -> None:
        """See ``store.port.RelayStore``."""
        self._writer.run(lambda cursor: relays.resign(cursor, name, owner))

    def checkpoint(self, name: str) -> RelayCheckpoint | None:
        """See ``store.port.RelayStore``."""
        with self._readers.cursor() as cursor:
            return relays.checkpoint(cursor, name, self._now_us())

    def close(self) -> None:
        """See ``store.port.Store``; closing twice does no harm."""
        self._readers.close()
        if self._is_service:
            self._is_service = False
            with suppress(StoreError):
                self._writer.give_out_of_use()
        self._writer.close()

    def audit(self) -> AbstractContextManager[Audit]:
        """See ``store.queries.Auditable``."""
        return open_audit(self._path)
