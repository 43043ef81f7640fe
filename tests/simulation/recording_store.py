"""A store that records its commits in the history, and the owner and token of each piece of work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson

from actors.runtime.simulated import EPOCH
from domain.events import VOCABULARY
from store.port import (
    AppendResult,
    BreakerRecord,
    Claim,
    CloseWork,
    Committed,
    Conflict,
    DeadLetterFilter,
    Feed,
    Fenced,
    GatewayMode,
    Lease,
    Load,
    QueuedWork,
    Snapshot,
    StreamKey,
    WorkChange,
    WorkItem,
    Write,
)
from tests.simulation.databases import AnyStore, Database
from tests.simulation.history import History
from tests.simulation.timeline import Timeline

T = TypeVar("T")


class Eyes:
    """Observes the work, breakers and claims of all processes, and writes each change into the history."""

    def __init__(self, database: Database, history: History, timeline: Timeline) -> None:
        self._database, self._history, self._timeline = database, history, timeline
        self._rows: dict[str, list[Any]] = {}
        self._relays: dict[str, list[Any]] = {}
        self._breakers: dict[str, int] = {}
        self.processes: dict[str, int] = {}
        """The process of each owner."""

    def look_at_breakers(self) -> None:
        """Record which shared breakers have changed since the last look."""
        for gateway, epoch, state, prober in self._database.rows(
            "SELECT gateway, epoch, state, prober FROM breakers ORDER BY gateway"
        ):
            if self._breakers.get(gateway) != epoch:
                self._breakers[gateway] = epoch
                who = {"gateway": gateway, "epoch": epoch, "prober": None if prober is None else self.processes[prober]}
                self._history.add("record", self._timeline.now, state=state, **who)

    def look(self) -> None:
        """Record which work has changed since the last look."""
        found = self._database.rows("SELECT work_id, token, state, owner FROM work")
        rows = {row[0]: list(row[1:]) for row in found}
        changed = {key: rows.get(key) for key in sorted({*rows, *self._rows}) if rows.get(key) != self._rows.get(key)}
        if changed:
            self._history.add("work", self._timeline.now, rows=changed)
        self._rows = rows

    def look_at_relays(self) -> None:
        """Record which checkpoints of relays, and their tokens, have changed since the last look."""
        for name, *row in self._database.rows(
            "SELECT name, token, position, generation, refused_position FROM relays ORDER BY name"
        ):
            if self._relays.get(name) != row:
                self._relays[name] = row
                token, position, generation, refused = row
                where = {"name": name, "token": token, "position": position, "generation": generation}
                self._history.add("checkpoint", self._timeline.now, refused=refused, **where)

    def look_at_positions(self) -> None:
        """Record the position of each event."""
        rows = self._database.rows("SELECT position, stream_name, stream_id, version FROM events ORDER BY position")
        self._history.add("positions", self._timeline.now, rows=[list(row) for row in rows])

    @property
    def backlog(self) -> int:
        """Positions above the checkpoint of the relay of events."""
        (row,) = self._database.rows(
            "SELECT (SELECT coalesce(max(position), 0) FROM events)"
            " - coalesce((SELECT position FROM relays WHERE name = 'events'), 0)"
        )
        return int(row[0])

    def look_at_claims(self) -> None:
        """Record all claims."""
        rows = self._database.rows("SELECT scope, key, value FROM claims ORDER BY scope, key")
        claims = [[scope, key, bytes(value).decode("latin-1")] for scope, key, value in rows]
        self._history.add("claims", self._timeline.now, claims=claims)

    def left_to_do(self, for_people: str, held: set[str], known: set[str]) -> set[str]:
        """States of the remaining work, without work of the gateway ``for_people`` that is under review.

        An authorization is left to do unless its money is ``held``, or its hold is not ``known`` and under review, or
        its capture or void is under way: then that is left to do.
        """
        rows = self._database.rows(
            "SELECT w.state, w.transaction_id, w.gateway, t.status, t.ended_by, EXISTS"
            " (SELECT 1 FROM reviews AS r WHERE r.transaction_id = w.transaction_id)"
            " FROM work AS w LEFT JOIN transactions AS t ON t.transaction_id = w.transaction_id"
        )
        return {
            str(state)
            for state, transaction_id, gateway, status, ended_by, reviewed in rows
            if not (reviewed and (gateway == for_people or (status == "authorized" and transaction_id not in known)))
            and not (status == "authorized" and (transaction_id in held or ended_by is not None))
        }

    def tell_time(self) -> None:
        """Set the database's clock."""
        self._database.tell_time(self._timeline.clock())


class RecordingStore:
    """Implements store.port.Store: a real store whose calls are recorded.

    ``clock`` is the one of the store. ``servers_clock``: the times are those of a server, so a process's clock has no
    influence.
    """

    def __init__(
        self,
        store: AnyStore,
        eyes: Eyes,
        history: History,
        timeline: Timeline,
        process: int,
        *,
        clock: Callable[[], datetime],
        servers_clock: bool,
    ) -> None:
        self._real, self.eyes, self._history, self._timeline = store, eyes, history, timeline
        self._process, self._clock, self._servers_clock = process, clock, servers_clock
        self.owner: str | None = None
        """The newest registered owner."""
        self.eyes.look()

    @property
    def timed(self) -> AnyStore:
        """The real store, with its clock set to the present time."""
        self.eyes.tell_time()
        return self._real

    @property
    def clock_s(self) -> float:
        """The store's clock, in seconds since the beginning of the world's time."""
        return round((self._clock() - EPOCH).total_seconds(), 6)

    def note(self, what: str, **fields: object) -> None:
        """Record what a call of this process did."""
        self._history.add(what, self._timeline.now, process=self._process, **fields)

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store."""
        results = self.timed.append(writes)
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, Committed):
                where = {"process": self._process, "stream": list(write.stream), "after": write.head.version}
                self._history.add("write", self._timeline.now, parts=_parts(write), **where)
            elif isinstance(result, Conflict | Fenced):
                self._history.add("lost", self._timeline.now, process=self._process, how=type(result).__name__)
        return self._seen(results)

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See Store."""
        return self.timed.load(stream, transaction_ids)

    def load_many(self, loads: Sequence[Load]) -> list[Snapshot]:
        """See Store."""
        return self.timed.load_many(loads)

    def stream_of(self, transaction_id: str) -> StreamKey | None:
        """See Store."""
        return self.timed.stream_of(transaction_id)

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See Store."""
        return self._seen(self.timed.claim_work(owner, gateway, limit))

    def lease(self, work_id: str) -> Lease | None:
        """See Store."""
        return self.timed.lease(work_id)

    def claimed(self, scope: str, key: str) -> Claim | None:
        """See Store."""
        return self.timed.claimed(scope, key)

    def holds(self, stream: StreamKey, version: int, event_id: str) -> bool:
        """See Store."""
        return self.timed.holds(stream, version, event_id)

    def feed(self) -> Feed:
        """See Store."""
        return self.timed.feed()

    def begin_generation(self, seen: int) -> int:
        """See Store."""
        before, after = self.timed.feed().generation, self.timed.begin_generation(seen)
        self._history.add("generation", self._timeline.now, process=self._process, before=before, after=after)
        return self._seen(after)

    def register_owner(self, owner: str, vocabulary: int = VOCABULARY) -> None:
        """See Store."""
        if owner not in self.eyes.processes:
            self.note("owner", owner=owner)
        self.eyes.processes[owner] = self._process
        self.timed.register_owner(owner, vocabulary)
        self.owner = owner

    def vocabulary_floor(self) -> int:
        """See Store."""
        return self.timed.vocabulary_floor()

    def heartbeat(self, owner: str) -> bool:
        """See Store."""
        return self.timed.heartbeat(owner)

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """See Store."""
        return self._seen(self.timed.retire_owner(owner, unsent=unsent))

    def release_dead(self, lease_s: float) -> int:
        """See Store."""
        return self._seen(self.timed.release_dead(lease_s))

    def next_due_s(self, gateway: str) -> float | None:
        """See Store."""
        return self.timed.next_due_s(gateway)

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """See Store. Sorted, because a server returns work that is due at the same time in any order."""
        return sorted(self.timed.queued_due(gateways, limit), key=lambda work: (work.gateway, work.work_id))

    def clock_set_back(self, lost_s: float) -> int:
        """See Store."""
        return 0 if self._servers_clock else self.timed.clock_set_back(lost_s)

    def limit_dues(self, max_s: float) -> int:
        """See Store."""
        return 0 if self._servers_clock else self.timed.limit_dues(max_s)

    def hasten_lookups(self, gateway: str) -> int:
        """See Store."""
        return self._seen(self.timed.hasten_lookups(gateway))

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """See Store."""
        return self._seen(self.timed.retry_dead(merchant, where))

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """See Store."""
        return self.timed.gateway_modes()

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """See Store."""
        self.timed.set_gateway_mode(mode)

    def breakers(self) -> dict[str, BreakerRecord]:
        """See Store."""
        return self.timed.breakers()

    def turn_breaker(self, gateway: str, epoch: int, state: str) -> BreakerRecord:
        """See Store."""
        record = self.timed.turn_breaker(gateway, epoch, state)
        self.eyes.look_at_breakers()
        return record

    def take_probe(self, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """See Store."""
        record = self.timed.take_probe(gateway, epoch, owner, sleep_s=sleep_s, permit_s=permit_s)
        self.eyes.look_at_breakers()
        return record

    def close(self) -> None:
        """See Store."""
        self._real.close()

    def _seen(self, result: T) -> T:
        self.eyes.look()
        return result


def _parts(write: Write) -> list[dict[str, Any]]:
    return [
        {
            "events": [[event.event_id, event.type, _data(event.body)] for event in part.events],
            "causes": [_cause(event.body) for event in part.events],
            "fence": None if part.fence is None else list(part.fence),
            "work": [_change(change) for change in part.work],
        }
        for part in write.parts
    ]


def _data(body: bytes) -> Any:
    return orjson.loads(body)["data"]


def _cause(body: bytes) -> list[str | None]:
    """The cause of an event, and its operator."""
    metadata = orjson.loads(body)["metadata"]
    return [metadata.get("causation_id"), metadata.get("who")]


def _change(change: WorkChange) -> list[str]:
    if isinstance(change, CloseWork):
        return ["close", change.work_id]
    return ["open" if type(change).__name__ == "OpenWork" else "move", change.work_id]
