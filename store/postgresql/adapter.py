"""The store port on one PostgreSQL database. It only composes the modules of this package."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Final

from domain.events import VOCABULARY
from store.port import (
    AppendResult,
    BreakerRecord,
    Claim,
    DeadLetterFilter,
    DeliveryCertainty,
    GatewayMode,
    Lease,
    Load,
    QueuedWork,
    RelayCheckpoint,
    RelayLease,
    Snapshot,
    StreamKey,
    WorkItem,
    Write,
)
from store.postgresql import breakers, generations, reads, relays, work
from store.postgresql.audit import open_audit
from store.postgresql.migrate import check_schema
from store.postgresql.queries import PostgresqlQueries
from store.postgresql.retrying_writer import RetryingWriter
from store.postgresql.service_lock import ServiceLock
from store.postgresql.sessions import Sessions, audit_settings, connection_settings
from store.queries import Audit

WRITERS: Final = 4
READERS: Final = 8


class PostgresqlStore(PostgresqlQueries):
    """Implements ``store.port.Store`` and ``store.queries.Auditable`` in addition to the queries.

    The database must be migrated: raises SchemaError otherwise, and StoreUnavailableError when it does not answer or is
    being rebuilt. Any number of processes may use one database; they share its clock. It opens at most ``writers`` and
    ``readers`` connections, so that reads never delay a write.
    """

    def __init__(self, url: str, *, writers: int = WRITERS, readers: int = READERS) -> None:
        check_schema(url)
        self._url = url
        settings = connection_settings(url)
        follow = generations.Follower()
        self._writing = Sessions(settings, name="writers", size=writers, on_connect=ServiceLock(follow))
        self._writing.wait()  # before the first read, so that a later rebuild is detected
        super().__init__(Sessions(settings, name="readers", size=readers, on_connect=follow))
        self._writing.same_server = (self._reading,)
        self._writer = RetryingWriter(self._writing)

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See ``store.port.Store``; one round trip and one COMMIT for all."""
        return self._writer.append(writes)

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See ``store.port.Store``."""
        return self.load_many([Load(stream, transaction_ids)])[0]

    def load_many(self, loads: Sequence[Load]) -> list[Snapshot]:
        """See ``store.port.Store``; one round trip for all."""
        return self._reading.read(lambda session: reads.load(session, loads))

    def stream_of(self, transaction_id: str) -> StreamKey | None:
        """See ``store.port.Store``."""
        return self._reading.read(lambda session: reads.stream_of(session, transaction_id))

    def lease(self, work_id: str) -> Lease | None:
        """See ``store.port.Store``."""
        return self._reading.read(lambda session: reads.lease(session, work_id))

    def claimed(self, scope: str, key: str) -> Claim | None:
        """See ``store.port.Store``."""
        return self._reading.read(lambda session: reads.claimed(session, scope, key))

    def holds(self, stream: StreamKey, version: int, event_id: str) -> bool:
        """See ``store.port.Store``."""
        return self._reading.read(lambda session: reads.holds(session, stream, version, event_id))

    def begin_generation(self, seen: int) -> int:
        """See ``store.port.Store``."""
        return self._writer.change(lambda session: generations.begin(session, seen), repeatable=True)

    def register_owner(self, owner: str, vocabulary: int = VOCABULARY) -> None:
        """See ``store.port.Store``."""
        self._writer.change(lambda session: work.register(session, owner, vocabulary), repeatable=True)

    def vocabulary_floor(self) -> int:
        """See ``store.port.Store``."""
        return self._reading.read(reads.vocabulary_floor)

    def heartbeat(self, owner: str) -> bool:
        """See ``store.port.Store``."""
        return self._writer.change(lambda session: work.beat(session, owner), repeatable=True)

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """See ``store.port.Store``; the queued work is due at once."""
        certainty = DeliveryCertainty.NOT_SENT if unsent else DeliveryCertainty.LEASE_LOST
        return self._writer.change(lambda session: work.retire(session, owner, certainty), repeatable=True)

    def release_dead(self, lease_s: float) -> int:
        """See ``store.port.Store``; the queued work is due at once."""
        return self._writer.change(lambda session: work.release_silent(session, lease_s), repeatable=True)

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See ``store.port.Store``; an owner that is not registered gets nothing.

        Raises CommitUncertainError when the connection was cut: then work may be leased that no process received.
        """
        return self._writer.change(lambda session: work.claim(session, owner, gateway, limit), repeatable=False)

    def next_due_s(self, gateway: str) -> float | None:
        """See ``store.port.Store``."""
        return self._reading.read(lambda session: reads.next_due_s(session, gateway))

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """See ``store.port.Store``; one statement for all gateways."""
        return self._reading.read(lambda session: reads.queued_due(session, gateways, limit))

    def clock_set_back(self, lost_s: float) -> int:  # noqa: ARG002  # the times are the server's
        """See ``store.port.Store``."""
        return 0

    def limit_dues(self, max_s: float) -> int:  # noqa: ARG002  # the times are the server's
        """See ``store.port.Store``."""
        return 0

    def hasten_lookups(self, gateway: str) -> int:
        """See ``store.port.Store``; lookups that are due already do not count."""
        return self._writer.change(lambda session: work.hasten_lookups(session, gateway), repeatable=True)

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """See ``store.port.Store``."""
        return self._writer.change(lambda session: work.retry_dead(session, merchant, where), repeatable=False)

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """See ``store.port.Store``."""
        return self._reading.read(reads.gateway_modes)

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """See ``store.port.Store``; raises UnstorableError for an unknown mode."""
        self._writer.change(lambda session: work.set_mode(session, mode), repeatable=True)

    def breakers(self) -> dict[str, BreakerRecord]:
        """See ``store.port.Store``."""
        return self._reading.read(breakers.records)

    def turn_breaker(self, gateway: str, epoch: int, state: str) -> BreakerRecord:
        """See ``store.port.Store``."""
        return self._writer.change(lambda session: breakers.turn(session, gateway, epoch, state), repeatable=True)

    def take_probe(self, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """See ``store.port.Store``."""
        return self._writer.change(
            lambda session: breakers.take_probe(session, gateway, epoch, owner, sleep_s=sleep_s, permit_s=permit_s),
            repeatable=True,
        )

    def lead(self, name: str, owner: str, lease_s: float) -> RelayLease | None:
        """See ``store.port.RelayStore``."""
        return self._writer.change(lambda session: relays.lead(session, name, owner, lease_s), repeatable=True)

    def advance(self, name: str, token: int, position: int, generation: int) -> bool:
        """See ``store.port.RelayStore``."""
        return self._writer.change(
            lambda session: relays.advance(session, name, token, position, generation), repeatable=True
        )

    def note_refusal(self, name: str, token: int, position: int, reason: str) -> bool:
        """See ``store.port.RelayStore``."""
        return self._writer.change(
            lambda session: relays.note_refusal(session, name, token, position, reason), repeatable=True
        )

    def resign(self, name: str, owner: str) -> None:
        """See ``store.port.RelayStore``."""
        self._writer.change(lambda session: relays.resign(session, name, owner), repeatable=True)

    def checkpoint(self, name: str) -> RelayCheckpoint | None:
        """See ``store.port.RelayStore``."""
        return self._reading.read(lambda session: relays.checkpoint(session, name))

    def close(self) -> None:
        """Close all connections; closing twice does no harm."""
        self._reading.close()
        self._writing.close()

    def audit(self) -> AbstractContextManager[Audit]:
        """See ``store.queries.Auditable``."""
        return open_audit(audit_settings(self._url))
