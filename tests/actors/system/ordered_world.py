"""A world for one transaction in which things happen in a given order and processes die.

All processes share one time. A frozen process finds its call's answer when it is woken, however late.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from greenlet import greenlet
from pykka import Timeout

from actors.operations.receive import ReceiveOperation
from actors.replies import Taken
from actors.runtime.actor import Future
from actors.runtime.dispatchers import Executor
from actors.runtime.simulated import SimulatedRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.account import Balance
from domain.commands import Receive
from domain.events import BalanceAdjusted, Kind, Recorded
from domain.money import Money
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.codec import Metadata, encode
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import AppendResult, Head, Part, StoredEvent, StreamKey, Write
from store.queries import TransactionView
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, RecordingListener, TroubledStore, stream
from tests.actors.system.ordered_provider import AMOUNT, Provider, Step
from tests.store.templates import new_sqlite

FUNDS: Final = 5_000
"""The customer's balance before anything happens, in minor units."""

_SETTINGS: Final = SystemSettings(lease_s=3.0, load_threads=0)
_OPTIONS: Final = GatewaySettings(
    GATEWAY, "gateway_a", "http://127.0.0.1:1/a", timeout_s=5.0, lookup_after_s=(0.5, *[1.0] * 49), settle_s=1.0
)
_SLICE_S: Final = 0.25
_STEPS_MAX: Final = 20_000
_SILENCE_S: Final = 0.5
"""The time between the death of all processes and the next start."""


class _Calls:
    """A bulkhead whose calls may wait before they return."""

    def __init__(self, place: Executor) -> None:
        self._place = place

    def submit(self, function: Callable[[], None], /) -> None:
        self._place.submit(lambda: greenlet(function).switch())


class _Runtime(SimulatedRuntime):
    def executor(self, name: str, threads: int) -> Executor:
        place = super().executor(name, threads)
        return _Calls(place) if name.startswith("gateway-") else place


class _MortalStore(TroubledStore):
    """A store at whose next commit its process may die."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self.dies = ""
        self.dead = False

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store."""
        if self.dead or self.dies == "unstored":
            self.dead = True
            raise StoreUnavailableError("the process is dead")
        results = super().append(writes)
        if self.dies == "unanswered":
            self.dead = True
            raise CommitUncertainError("the process is dead")
        return results


class SharedStore:
    """A store in a file, which several worlds use one after the other, each with its own customer; and the time."""

    def __init__(self, path: Path) -> None:
        new_sqlite(path)
        self.chance = random.Random(1)
        self.now = 100.0
        self.clock = SimulatedRuntime(self.chance, started_at=self.now).now
        """The wall clock of the present user of the store."""
        self.store = SqliteStore(path, clock=self._wall_clock, synchronous="OFF")
        self._worlds = 0

    def _wall_clock(self) -> datetime:
        return self.clock()

    def new_customer(self) -> StreamKey:
        """A customer with FUNDS."""
        self._worlds += 1
        customer = stream(f"c{self._worlds}")
        event = BalanceAdjusted(f"a-{customer.id}", Money(FUNDS, "USD"), "to begin with", "none")
        recorded = Recorded(1, self.clock(), event)
        part = Part(events=(encode(customer, Head(), recorded, f"e-{customer.id}", Metadata("r")),))
        self.store.append([Write(customer, Head(), (part,), (), (("USD", Balance(FUNDS)),))])
        return customer


class Process:
    """A whole payment system on the shared store, from its start to its death."""

    def __init__(self, shared: SharedStore, provider: Provider, *, exclusive: bool) -> None:
        self.runtime = _Runtime(shared.chance, started_at=shared.now)
        self._shared = shared
        self.store = _MortalStore(shared.store)
        self.frozen = False
        self.facade = ServiceFacade(self.runtime, {GATEWAY: provider}, RecordingListener())
        self.system = PaymentSystem(
            service=self.facade,
            runtime=self.runtime,
            store=self.store,
            queue=LocalQueue(),
            gateways={GATEWAY: (provider, _OPTIONS)},
            settings=_SETTINGS,
            listener=RecordingListener(),
            exclusive=exclusive,
        )
        self.facade._waiting = self  # type: ignore[assignment]  # while a thread waits, everything else runs
        shared.clock = self.runtime.now
        self.system.start()

    def wait(self, reply: Future[Any]) -> Any:
        """Run until there is an answer. Raises pykka.Timeout when the process dies before."""
        self._shared.clock = self.runtime.now
        until = self.runtime.monotonic() + 5.0
        while not reply.done and not self.store.dead and self.runtime.step(until):
            pass
        if self.store.dead:
            raise Timeout
        return reply.get(timeout=0)

    def run(self, until: float) -> None:
        """Run everything that is due before ``until``."""
        self._shared.clock = self.runtime.now
        for _ in range(_STEPS_MAX):
            if self.store.dead:
                return
            if not self.runtime.step(until):
                self.runtime.advance(max(until - self.runtime.monotonic(), 0.0))
                return
        raise RuntimeError("it does not end")


@dataclass
class World:
    """A customer with money, one transaction, its provider, and the live processes."""

    shared: SharedStore
    provider: Provider
    kind: Kind
    processes: list[Process] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    """Event ids of the callbacks that were answered as taken."""
    owed: set[str] = field(default_factory=set)
    """Event ids of the callbacks that were sent and not answered as taken: the provider will send them again."""
    _lost: bool = False
    """The process that made the call is dead."""

    def __post_init__(self) -> None:
        self.customer = self.shared.new_customer()
        first = self._boot(exclusive=True)
        self.transaction_id = first.runtime.new_id()
        command = Receive(self.kind, self.transaction_id, GATEWAY, Money(AMOUNT, "USD"), {})
        first.facade.execute(self.customer, ReceiveOperation(command, Metadata("r")))
        self.run(0.0)
        assert self.provider.out is not None, "the call is out"

    def happen(self, step: Step) -> None:
        """Perform one step; the process that it happens to may die at it."""
        for process in self.processes:
            process.store.dies = step.dies
        match step.what:
            case "answer":
                self._answer()
            case "lookup":
                self._lookup()
            case "crash":
                self._crash()
            case name:
                self.call_back(self.event_id(name))
        if step.dies:
            self._crash()

    def event_id(self, name: str) -> str:
        """The event id of the callback with that name in an order."""
        return f"{name}-{self.customer.id}"

    def call_back(self, event_id: str) -> None:
        """The provider sends a callback; it may get no answer."""
        self.provider.settle()
        if event_id not in self.taken:
            self.owed.add(event_id)
        process = next(process for process in self.processes if not process.frozen)
        reply = process.facade.callback(GATEWAY, {"id": event_id}, self.transaction_id.encode(), Metadata("c"))
        if not process.store.dead and reply == Taken():
            self.taken.add(event_id)
            self.owed.discard(event_id)

    def finish(self) -> None:
        """The provider repeats callbacks that were not taken, until everything has ended."""
        for _ in range(40):
            for event_id in sorted(self.owed):
                self.call_back(event_id)
            if not self.work and not self.owed:
                break
            self.run(1.0)
        self.run(0.5)

    def run(self, seconds: float) -> None:
        """Run everything that is due within ``seconds``, in all processes that are not frozen."""
        end = self.shared.now + seconds
        while True:
            self.shared.now = min(self.shared.now + _SLICE_S, end)
            for process in self.processes:
                if not process.frozen:
                    process.run(self.shared.now)
            if self.shared.now >= end or any(process.store.dead for process in self.processes):
                return

    def events(self) -> Sequence[StoredEvent]:
        """The customer's stream."""
        return self.shared.store.stream_events(self.customer, after=0, limit=100)

    @property
    def transaction(self) -> TransactionView:
        """The transaction as clients see it; LookupError without one."""
        view = self.shared.store.transaction("main", self.transaction_id)
        if view is None:
            raise LookupError(self.transaction_id)
        return view

    @property
    def reviews(self) -> int:
        """The number of the customer's open reviews."""
        views = self.shared.store.reviews("main", "open", before=None, limit=10_000)
        return sum(view.customer_id == self.customer.id for view in views)

    @property
    def work(self) -> dict[tuple[str, str], int]:
        """The counts of unfinished work."""
        return self.shared.store.work_counts()

    @property
    def balance(self) -> Balance:
        """The customer's balance."""
        view = self.shared.store.customer(self.customer)
        assert view is not None
        return dict(view.balances)["USD"]

    def close(self) -> None:
        """End all processes, which lose all their memory."""
        while self.processes:
            self.processes.pop().store.dead = True
        self.shared.now += _SILENCE_S

    def _boot(self, *, exclusive: bool) -> Process:
        process = Process(self.shared, self.provider, exclusive=exclusive)
        self.processes.append(process)
        return process

    def _answer(self) -> None:
        """The call's answer reaches the process that waits for it, unless that process died."""
        call, self.provider.out = self.provider.out, None
        assert call is not None
        if self._lost:
            return
        for process in self.processes:
            if process.frozen:
                process.frozen = False
                process.runtime.advance(self.shared.now - process.runtime.monotonic())
        call.switch()
        self.run(0.1)

    def _lookup(self) -> None:
        """Let time pass until the provider gets one more lookup, if there is anything to look up.

        While the call is out, that needs a second process, and a first one frozen for longer than its lease.
        """
        if self.provider.out is not None and not self._lost:
            for process in self.processes:
                process.frozen = True
            successor = self._boot(exclusive=False)
            successor.store.dies = self.processes[0].store.dies
        asked = self.provider.asked
        for _ in range(20):
            self.run(_SLICE_S)
            if self.provider.asked > asked or any(process.store.dead for process in self.processes) or not self.work:
                return

    def _crash(self) -> None:
        """All processes die; half a second later one starts."""
        self._lost = True
        self.close()
        self._boot(exclusive=True)
