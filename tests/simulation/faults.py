"""Internal faults: a store that wraps a real one and fails at random, and actors and processes that die."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet
from pykka._envelope import Envelope

from actors.runtime.actor import ServiceActor
from actors.runtime.mailbox import Mailbox
from domain.events import VOCABULARY
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import (
    AppendResult,
    BreakerRecord,
    Claim,
    DeadLetterFilter,
    Feed,
    GatewayMode,
    Lease,
    Load,
    QueuedWork,
    Snapshot,
    StreamKey,
    WorkItem,
    Write,
)
from tests.simulation.recording_store import RecordingStore
from tests.simulation.threads import ThreadedRuntime

T = TypeVar("T")


class Crashed(BaseException):
    """The process dies here. The caller that steps the runtime must check ``FaultyStore.crashed`` and stop."""


class Deadly:
    """Makes actors die: an error at any message, before its handler, when it sends a message, or after it.

    ``hindered`` is called with each death.
    """

    def __init__(self, chance: random.Random, rate: float, hindered: Callable[[], None]) -> None:
        self._chance, self._rate, self._hindered = chance, rate, hindered
        self._handling: set[greenlet] = set()
        """The threads in which an actor is handling a message."""
        self.calm = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the faults within the block."""
        original, put, put_and_run = ServiceActor.on_receive, Mailbox.put, Mailbox.put_and_run

        def on_receive(actor: ServiceActor, message: object) -> object:
            draw = 1.0 if self.calm else self._chance.random()
            if draw < self._rate:
                actor.receive = _raise  # type: ignore[method-assign, assignment]  # this instance only: the error ends it
            thread = getcurrent()
            nested = thread in self._handling
            self._handling.add(thread)
            try:
                reply = original(actor, message)
                if draw < 2 * self._rate:
                    _raise(message)
            except Exception:
                self._hindered()
                raise
            finally:
                if not nested:
                    self._handling.discard(thread)
            return reply

        def may_die() -> None:
            if getcurrent() in self._handling and not self.calm and self._chance.random() < self._rate:
                raise RuntimeError("simulated defect while handling a message")

        def put_or_die(mailbox: Mailbox, envelope: Envelope[Any], /) -> None:
            may_die()
            put(mailbox, envelope)

        def put_and_run_or_die(mailbox: Mailbox, envelope: Envelope[Any], /) -> None:
            may_die()
            put_and_run(mailbox, envelope)

        ServiceActor.on_receive = on_receive  # type: ignore[method-assign, assignment]  # put back below
        Mailbox.put, Mailbox.put_and_run = put_or_die, put_and_run_or_die  # type: ignore[method-assign]
        try:
            yield
        finally:
            ServiceActor.on_receive = original  # type: ignore[method-assign]
            Mailbox.put, Mailbox.put_and_run = put, put_and_run  # type: ignore[method-assign]


def _raise(_message: object) -> None:
    raise RuntimeError("simulated defect")


class FaultyStore:
    """Implements store.port.Store: a real store with faults.

    ``slow`` is the rate of slow calls. ``late`` executes a write later, after its caller got an error. ``jump`` is
    sometimes called just before the store reads the clock. ``freeze`` is called before and after a write, and returns
    whether the process freezes there. ``hindered`` is called when a caller got no answer, or had to wait for it.
    """

    def __init__(
        self,
        store: RecordingStore,
        runtime: ThreadedRuntime,
        chance: random.Random,
        rate: float,
        *,
        slow: float = 0.0,
        late: Callable[[Callable[[], object]], None] | None = None,
        jump: Callable[[], None] = lambda: None,
        freeze: Callable[[], bool] = lambda: False,
        hindered: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._runtime, self._chance, self._rate = store, runtime, chance, rate
        self._slow, self._late, self._jump, self._freeze, self._hindered = slow, late, jump, freeze, hindered
        self._cut = self._first_since = False
        self.calm = False
        self.crashed = False

    def cut(self) -> None:
        """Disconnect the store: no answer arrives any more, but a statement in progress may be executed."""
        self._cut = self._first_since = True

    def heal(self) -> None:
        """Connect the store again."""
        self._cut = False

    @property
    def is_cut(self) -> bool:
        """Whether the store is disconnected."""
        return self._cut

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store; may die or fail before or after the commit."""
        return self._write(lambda: self._store.append(writes), may_be_late=True)

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See Store."""
        return self._read(lambda: self._store.load(stream, transaction_ids))

    def load_many(self, loads: Sequence[Load]) -> list[Snapshot]:
        """See Store."""
        return self._read(lambda: self._store.load_many(loads))

    def stream_of(self, transaction_id: str) -> StreamKey | None:
        """See Store."""
        return self._read(lambda: self._store.stream_of(transaction_id))

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See Store."""
        return self._write(lambda: self._store.claim_work(owner, gateway, limit), may_be_late=True)

    def lease(self, work_id: str) -> Lease | None:
        """See Store."""
        return self._read(lambda: self._store.lease(work_id))

    def claimed(self, scope: str, key: str) -> Claim | None:
        """See Store."""
        return self._read(lambda: self._store.claimed(scope, key))

    def holds(self, stream: StreamKey, version: int, event_id: str) -> bool:
        """See Store."""
        return self._read(lambda: self._store.holds(stream, version, event_id))

    def feed(self) -> Feed:
        """See Store."""
        return self._read(self._store.feed)

    def begin_generation(self, seen: int) -> int:
        """See Store."""
        return self._write(lambda: self._store.begin_generation(seen))

    def register_owner(self, owner: str, vocabulary: int = VOCABULARY) -> None:
        """See Store."""
        self._write(lambda: self._store.register_owner(owner, vocabulary))

    def vocabulary_floor(self) -> int:
        """See Store."""
        return self._read(self._store.vocabulary_floor)

    def heartbeat(self, owner: str) -> bool:
        """See Store."""
        return self._write(lambda: self._store.heartbeat(owner))

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """See Store."""
        return self._write(lambda: self._store.retire_owner(owner, unsent=unsent))

    def release_dead(self, lease_s: float) -> int:
        """See Store; a clock that jumps just before makes this process look dead while it lives."""
        return self._write(lambda: self._store.release_dead(lease_s))

    def next_due_s(self, gateway: str) -> float | None:
        """See Store."""
        return self._read(lambda: self._store.next_due_s(gateway))

    def queued_due(self, gateways: Collection[str], limit: int) -> list[QueuedWork]:
        """See Store."""
        return self._read(lambda: self._store.queued_due(gateways, limit))

    def clock_set_back(self, lost_s: float) -> int:
        """See Store."""
        return self._write(lambda: self._store.clock_set_back(lost_s))

    def limit_dues(self, max_s: float) -> int:
        """See Store."""
        return self._write(lambda: self._store.limit_dues(max_s))

    def hasten_lookups(self, gateway: str) -> int:
        """See Store."""
        return self._write(lambda: self._store.hasten_lookups(gateway))

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """See Store."""
        return self._write(lambda: self._store.retry_dead(merchant, where))

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """See Store."""
        return self._read(self._store.gateway_modes)

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """See Store."""
        self._write(lambda: self._store.set_gateway_mode(mode))

    def breakers(self) -> dict[str, BreakerRecord]:
        """See Store."""
        return self._read(self._store.breakers)

    def turn_breaker(self, gateway: str, epoch: int, state: str) -> BreakerRecord:
        """See Store."""
        return self._write(lambda: self._store.turn_breaker(gateway, epoch, state))

    def take_probe(self, gateway: str, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """See Store."""
        return self._write(lambda: self._store.take_probe(gateway, epoch, owner, sleep_s=sleep_s, permit_s=permit_s))

    def close(self) -> None:
        """See Store."""
        self._store.close()

    def write(self, do: Callable[[], T], *, may_be_late: bool = False) -> T:
        """Do a write of another port of the same database, with the same faults."""
        return self._write(do, may_be_late=may_be_late)

    def read(self, do: Callable[[], T]) -> T:
        """Do a read of another port of the same database, with the same faults."""
        return self._read(do)

    def _write(self, do: Callable[[], T], *, may_be_late: bool = False) -> T:
        return self._noting(lambda: self._try_to_write(do, may_be_late=may_be_late))

    def _read(self, do: Callable[[], T]) -> T:
        return self._noting(lambda: self._try_to_read(do))

    def _noting(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except Exception:
            self._hindered()
            raise

    def _try_to_write(self, do: Callable[[], T], *, may_be_late: bool) -> T:
        self._take_time(writing=True)
        self._may_be_cut(do)
        draw = self._draw()
        if draw < 0.01:
            self._die()
        if draw < 0.03:
            raise StoreUnavailableError("simulated")
        if draw < 0.04:
            if may_be_late and self._late is not None:
                self._late(do)
            raise CommitUncertainError("simulated: not stored, or not yet")
        if draw < 0.05:
            raise RuntimeError("simulated defect before the commit")
        if 0.09 <= draw < 0.1:
            self._jump()
        result = do()
        self._take_time(writing=True)
        if draw < 0.06:
            self._die()
        if draw < 0.08 or self._cut:
            raise CommitUncertainError("simulated: stored")
        if draw < 0.09:
            raise RuntimeError("simulated defect after the commit")
        return result

    def _try_to_read(self, do: Callable[[], T]) -> T:
        self._take_time()
        if self._cut:
            raise StoreUnavailableError("simulated: cut off")
        draw = self._draw()
        if draw < 0.03:
            raise StoreUnavailableError("simulated")
        if draw < 0.04:
            raise RuntimeError("simulated defect while reading")
        result = do()
        self._take_time()
        return result

    def _may_be_cut(self, do: Callable[[], object]) -> None:
        if not self._cut:
            return
        first, self._first_since = self._first_since, False
        if first and self._chance.random() < 0.5:  # the statement was in progress
            do()
            raise CommitUncertainError("simulated: cut off, and stored")
        raise StoreUnavailableError("simulated: cut off")

    def _take_time(self, *, writing: bool = False) -> None:
        """Maybe delay a caller in its own thread, while others continue, or freeze the process."""
        runtime = self._runtime
        if runtime.dead:
            raise GreenletExit  # a thread of a dead process uses no store
        if runtime.job is None or self.calm:
            return
        if self._chance.random() < 0.05 * self._slow:
            runtime.pause(self._chance.choice([0.0, 0.001, 0.05, 1.0]))
            self._hindered()
        if writing and self._freeze():
            runtime.pause(0.0)

    def _draw(self) -> float:
        """A random number of at least 0. Small numbers are faults; a higher rate of the seed makes them more likely."""
        return 1.0 if self.calm or not self._rate else self._chance.random() / self._rate

    def _die(self) -> None:
        self.crashed = True
        raise Crashed
