"""The store of relays and announcers: a recording one, and one with faults around it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from domain.account import Transaction
from store.port import Feed, QueuedWork, RelayCheckpoint, RelayLease, StoredEvent
from tests.simulation.databases import AnyStore
from tests.simulation.faults import FaultyStore
from tests.simulation.recording_store import RecordingStore

T = TypeVar("T")


class FaultyRelayStore:
    """Implements messaging.relay.RelaySource, messaging.announcer.WorkSource, and what CloudEvents reads.

    Its faults are those of ``faulty``, the store of the same process. ``relays`` records what the calls changed.
    """

    def __init__(self, faulty: FaultyStore, relays: RecordingRelays) -> None:
        self._faulty, self._relays = faulty, relays

    def lead(self, name: str, owner: str, lease_s: float) -> RelayLease | None:
        """See RelayStore."""
        return self._faulty.write(lambda: self._relays.lead(name, owner, lease_s), may_be_late=True)

    def advance(self, name: str, token: int, position: int, generation: int) -> bool:
        """See RelayStore."""
        return self._faulty.write(lambda: self._relays.advance(name, token, position, generation), may_be_late=True)

    def note_refusal(self, name: str, token: int, position: int, reason: str) -> bool:
        """See RelayStore."""
        return self._faulty.write(lambda: self._relays.note_refusal(name, token, position, reason), may_be_late=True)

    def resign(self, name: str, owner: str) -> None:
        """See RelayStore."""
        self._faulty.write(lambda: self._relays.resign(name, owner), may_be_late=True)

    def checkpoint(self, name: str) -> RelayCheckpoint | None:
        """See RelayStore."""
        return self._faulty.read(lambda: self._relays.real.checkpoint(name))

    def feed(self) -> Feed:
        """See GenerationStore."""
        return self._faulty.feed()

    def begin_generation(self, seen: int) -> int:
        """See GenerationStore."""
        return self._faulty.begin_generation(seen)

    def all_events(self, merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """See Queries."""
        return self._faulty.read(lambda: self._relays.real.all_events(merchant, after=after, limit=limit))

    def transactions_of(self, transaction_ids: Collection[str]) -> Mapping[str, Transaction]:
        """See Queries."""
        return self._faulty.read(lambda: self._relays.real.transactions_of(transaction_ids))

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """See WorkStore."""
        return self._faulty.queued_due(gateways, limit)


class RecordingRelays:
    """Implements RelayStore's writes, and records them with their results."""

    def __init__(self, recording: RecordingStore) -> None:
        self._recording = recording

    @property
    def real(self) -> AnyStore:
        """The real store, with its clock set to the present time."""
        return self._recording.timed

    def lead(self, name: str, owner: str, lease_s: float) -> RelayLease | None:
        """See RelayStore."""
        lease = self.real.lead(name, owner, lease_s)
        if lease is not None:
            since = self._recording.clock_s
            when = {"since": since, "until": since + lease_s}
            self._recording.note("led", name=name, owner=owner, **when, **lease._asdict())
        return self._seen(lease)

    def advance(self, name: str, token: int, position: int, generation: int) -> bool:
        """See RelayStore."""
        moved = self.real.advance(name, token, position, generation)
        self._recording.note("advanced", name=name, token=token, position=position, generation=generation, moved=moved)
        return self._seen(moved)

    def note_refusal(self, name: str, token: int, position: int, reason: str) -> bool:
        """See RelayStore."""
        noted = self.real.note_refusal(name, token, position, reason)
        self._recording.note("stays", name=name, token=token, position=position, noted=noted)
        return self._seen(noted)

    def resign(self, name: str, owner: str) -> None:
        """See RelayStore."""
        self.real.resign(name, owner)
        self._recording.note("resigned", name=name, owner=owner)
        self._seen(None)

    def _seen(self, result: T) -> T:
        self._recording.eyes.look_at_relays()
        return result
