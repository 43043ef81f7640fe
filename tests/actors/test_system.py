"""All actors of a process together: the door, the start after a death, the drain, and what clients are told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.replies import Accepted, NotStored, Reply, Uncertain
from actors.runtime.runtime import LiveRuntime, Runtime
from actors.runtime.simulated import SimulatedRuntime
from actors.system import PaymentSystem, SystemSettings
from domain.account import Status
from domain.commands import Receive
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Outcome
from gateways.port import Order
from gateways.settings import GatewaySettings
from store.codec import Metadata
from store.errors import StoreUnavailableError
from store.port import Store
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.actors.support import GATEWAY, Heard, SmallGateway, Trouble, TroubledStore, stream

WAIT_S = 30.0
SETTINGS = SystemSettings(passivate_after_s=5.0)


@dataclass
class Service:
    """A system on a runtime and a store, with one gateway."""

    runtime: Runtime
    store: Store
    real: SqliteStore
    gateway: SmallGateway = field(default_factory=SmallGateway)
    settings: SystemSettings = SETTINGS
    max_concurrent: int = 5
    heard: Heard = field(default_factory=Heard)

    def __post_init__(self) -> None:
        options = GatewaySettings(
            GATEWAY, "gateway_a", "http://127.0.0.1:1/gatewayA", max_concurrent=self.max_concurrent
        )
        self.system = PaymentSystem(
            runtime=self.runtime,
            store=self.store,
            gateways={GATEWAY: (self.gateway, options)},
            settings=self.settings,
            listener=self.heard,
            exclusive=True,
        )

    def command(self, minor: int = 100) -> Receive:
        """A new deposit."""
        return Receive(Kind.DEPOSIT, self.system.new_transaction_id(), GATEWAY, Money(minor, "USD"), {})

    def receive(self, customer: str = "c1") -> Reply:
        """Send a deposit and wait for the answer."""
        return self.system.receive(stream(customer), self.command(), Metadata("r-1"))

    def status(self, transaction_id: str) -> Status:
        """As the store has it."""
        view = self.real.transaction("main", transaction_id)
        assert view is not None
        return view.transaction.status


def until(condition: Callable[[], bool]) -> None:
    """Wait for threads to come to something; fails when they do not."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        threading.Event().wait(0.002)


def run(service: Service, seconds: float) -> None:
    """Let virtual ``seconds`` pass with everything that happens in them."""
    runtime = service.runtime
    assert isinstance(runtime, SimulatedRuntime)
    end = runtime.monotonic() + seconds
    runtime.run(end)
    runtime.advance(max(end - runtime.monotonic(), 0.0))


# with real threads and a real file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A migrated database file."""
    path = tmp_path / "payments.db"
    migrate(path)
    return path


@pytest.fixture
def live(path: Path) -> Iterator[Service]:
    """A started service on real threads."""
    runtime = LiveRuntime()
    store = SqliteStore(path, clock=runtime.now)
    service = Service(runtime, store, store)
    service.system.start()
    yield service
    runtime.stop(5.0)
    store.close()


def test_deposits_from_many_threads_are_completed_once_each(live: Service) -> None:
    """A deposit goes from the door to the provider and back into the store, many at a time, each with one effect."""
    replies: list[Reply] = []

    def client(number: int) -> None:
        replies.extend(live.receive(f"c{number % 3}") for _ in range(10))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(WAIT_S)
    accepted = [reply.transaction.transaction_id for reply in replies if isinstance(reply, Accepted)]
    assert len(accepted) == len(set(accepted)) == 80
    until(lambda: not live.real.work_counts())
    assert {live.status(key) for key in accepted} == {Status.COMPLETED}
    assert sorted(live.gateway.calls) == sorted(accepted)
    assert live.gateway.at_once_max <= live.max_concurrent


def test_an_acceptance_is_durable_when_it_is_told(live: Service) -> None:
    """Whoever was told "accepted" finds the deposit in the store at that moment."""
    for _ in range(20):
        reply = live.receive()
        assert isinstance(reply, Accepted)
        assert live.real.transaction("main", reply.transaction.transaction_id) is not None


def test_a_provider_that_hangs_holds_up_no_acceptance(live: Service) -> None:
    """With every slot of the gateway stuck, deposits are still accepted, and done once it moves again."""
    gate = threading.Event()

    def hang(order: Order) -> Outcome:
        assert gate.wait(WAIT_S)
        return live.gateway.accept(order)

    live.gateway.answer = hang
    accepted = [live.receive(f"c{number}") for number in range(20)]
    assert all(isinstance(reply, Accepted) for reply in accepted)
    until(lambda: live.gateway.at_once == live.max_concurrent)
    [status] = live.system.gateways()
    assert (status.bulkhead.in_flight, status.bulkhead.waiting) == (5, 15)
    gate.set()
    until(lambda: not live.real.work_counts())
    assert live.gateway.at_once_max == live.max_concurrent


def test_a_drained_service_leaves_nothing_half_done(live: Service, path: Path) -> None:
    """After the drain the calls that are out end and are recorded, the rest is queued, and a new process does it."""
    gate = threading.Event()

    def hang(order: Order) -> Outcome:
        assert gate.wait(WAIT_S)
        return live.gateway.accept(order)

    live.gateway.answer = hang
    accepted = [live.receive(f"c{number}") for number in range(20)]
    until(lambda: live.gateway.at_once == live.max_concurrent)
    live.system.drain()
    assert live.system.problems()
    assert not live.system.at_rest
    gate.set()
    until(lambda: live.system.at_rest)
    late = live.receive("late")
    assert isinstance(late, Accepted)
    live.system.retire()
    assert live.real.work_counts() == {(GATEWAY, "queued"): 16}
    assert len(live.gateway.calls) == 5
    runtime = LiveRuntime()
    successor = Service(runtime, live.real, live.real)
    successor.system.start()
    until(lambda: not live.real.work_counts())
    assert runtime.stop(5.0)
    keys = [reply.transaction.transaction_id for reply in (*accepted, late) if isinstance(reply, Accepted)]
    assert {live.status(key) for key in keys} == {Status.COMPLETED}
    assert sorted([*live.gateway.calls, *successor.gateway.calls]) == sorted(keys)


# in one thread under a seed


@pytest.fixture
def simulated(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Service:
    """A started service in virtual time."""
    service = Service(runtime, store, real_store)
    service.system.start()
    return service


def test_a_service_that_has_not_started_stores_nothing(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """Before start a command is answered NotStored, and the service says that it is not ready."""
    service = Service(runtime, store, real_store)
    assert service.system.problems()
    reply = service.receive()
    assert isinstance(reply, NotStored)
    assert store.batches == []
    service.system.start()
    assert service.system.problems() == []
    service.system.drain()
    assert service.system.problems()


@pytest.mark.parametrize("steps", [0, 3, 10, 20, 40, 80])
def test_a_successor_finishes_what_a_killed_process_left(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore, path: Path, steps: int
) -> None:
    """Wherever the first process was dropped, the next one finishes all that is on record, each with one effect."""
    first = Service(runtime, store, real_store)
    first.system.start()
    sent = [first.system.send(stream(f"c{n % 2}"), first.command(), Metadata("r")) for n in range(6)]
    for _ in range(steps):
        runtime.step(runtime.monotonic() + 1.0)
    next_runtime = SimulatedRuntime(random.Random(steps), started_at=runtime.monotonic() + 1.0)
    next_store = SqliteStore(path, clock=next_runtime.now, synchronous="OFF")
    second = Service(next_runtime, next_store, next_store, first.gateway)
    second.system.start()
    run(second, 60.0)
    with next_store.audit() as audit:
        rows = [row for key in audit.streams() for row in audit.transactions(key)]
    assert {row.status for row in rows} <= {Status.COMPLETED}
    assert {row.transaction_id for row in rows} == set(first.gateway.effects)
    assert next_store.work_counts() == {}
    answered = [it for it in sent if not isinstance(it, NotStored) and it.reply.done]
    accepted = {it.command.transaction_id for it in answered if isinstance(it.reply.get(timeout=0), Accepted)}
    assert accepted <= {row.transaction_id for row in rows}
    next_store.close()


def test_a_drain_that_has_not_come_through_is_not_rest(simulated: Service) -> None:
    """While the supervisor may still send, nothing is at rest, or leases would be given back under its feet."""
    sent = simulated.system.send(stream(), simulated.command(), Metadata("r"))
    assert not isinstance(sent, NotStored)
    runtime = simulated.runtime
    assert isinstance(runtime, SimulatedRuntime)
    while not sent.reply.done:
        runtime.step(runtime.monotonic())
    simulated.system.drain()  # behind the work, in the supervisor's mailbox
    while not simulated.system.at_rest:
        assert runtime.step(runtime.monotonic() + 1.0)
    calls = len(simulated.gateway.calls)
    simulated.system.retire()
    run(simulated, 60.0)
    assert len(simulated.gateway.calls) == calls


def test_no_outcome_is_on_its_way_when_a_drained_service_is_at_rest(simulated: Service) -> None:
    """Once at rest, what the calls came to is stored: giving the leases back then makes no answer a stale one."""
    runtime = simulated.runtime
    assert isinstance(runtime, SimulatedRuntime)
    sent = [simulated.system.send(stream(f"c{n}"), simulated.command(), Metadata("r")) for n in range(8)]
    while not simulated.gateway.calls:
        runtime.step(runtime.monotonic())
    simulated.system.drain()
    while not simulated.system.at_rest:
        assert runtime.step(runtime.monotonic() + 1.0)
    simulated.system.retire()
    done = [it.command.transaction_id for it in sent if not isinstance(it, NotStored)]
    statuses = {key: simulated.status(key) for key in done}
    assert [key for key in done if statuses[key] is Status.COMPLETED] == [
        key for key in done if key in simulated.gateway.effects
    ]


def test_idle_customers_are_stopped_and_come_back(simulated: Service) -> None:
    """Memory is bounded by who was active lately: actors go when nothing was told them for a while, and come again."""
    for number in range(20):
        simulated.system.send(stream(f"c{number}"), simulated.command(), Metadata("r"))
    run(simulated, 2.0)
    assert len(simulated.system._customers) == 20
    run(simulated, 10.0)
    assert len(simulated.system._customers) == 0
    sent = simulated.system.send(stream("c3"), simulated.command(), Metadata("r"))
    run(simulated, 1.0)
    assert not isinstance(sent, NotStored)
    assert isinstance(sent.reply.get(timeout=0), Accepted)
    assert len(simulated.system._customers) == 1


def test_a_burst_of_idle_customers_is_stopped_in_portions(simulated: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep stops at most so many at a time, and the next sweeps the rest."""
    monkeypatch.setattr("actors.system.SWEEP_MAX", 10)
    for number in range(35):
        simulated.system.send(stream(f"c{number}"), simulated.command(), Metadata("r"))
    run(simulated, 5.5)
    assert len(simulated.system._customers) > 10
    run(simulated, 10.0)
    assert len(simulated.system._customers) == 0


def test_a_store_that_does_not_answer_ends_in_not_stored_or_uncertain(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that waited its deadline out hears what is true: never written, or nobody can tell yet."""
    monkeypatch.setattr("actors.system.GRACE_S", 0.1)
    runtime = LiveRuntime()
    real = SqliteStore(path, clock=runtime.now)
    store, gate = TroubledStore(real), threading.Event()
    settings = SystemSettings(request_deadline_s=0.05)
    service = Service(runtime, store, real, settings=settings)
    service.system.start()
    assert isinstance(service.receive("warm"), Accepted | Uncertain | NotStored)
    load, append = store.load, store.append
    store.load = lambda *args: (gate.wait(WAIT_S), load(*args))[1]  # type: ignore[method-assign]
    assert isinstance(service.receive("c1"), NotStored)
    store.load = load  # type: ignore[method-assign]
    store.append = lambda writes: (gate.wait(WAIT_S), append(writes))[1]  # type: ignore[method-assign]
    assert isinstance(service.receive("c2"), Uncertain)
    gate.set()
    until(lambda: real.customer(stream("c2")) is not None)
    until(lambda: service.system._customers.at_rest)
    assert real.customer(stream("c1")) is None
    assert runtime.stop(5.0)
    real.close()


def test_the_service_goes_on_while_the_store_is_away_for_a_while(simulated: Service, store: TroubledStore) -> None:
    """Through a minute without a store nothing that was accepted is lost, and what came meanwhile is refused."""
    before = simulated.system.send(stream("a"), simulated.command(), Metadata("r"))
    run(simulated, 0.0)
    for method in ("append", "load", "claim_work", "heartbeat", "release_dead", "next_due_s"):
        store.befall(method, *[Trouble(StoreUnavailableError("away")) for _ in range(12)])
    meanwhile = simulated.system.send(stream("b"), simulated.command(), Metadata("r"))
    run(simulated, 60.0)
    store._trouble.clear()
    after = simulated.system.send(stream("b"), simulated.command(), Metadata("r"))
    run(simulated, 60.0)
    answers = [it.reply.get(timeout=0) for it in (before, meanwhile, after) if not isinstance(it, NotStored)]
    assert [type(answer) for answer in answers] == [Accepted, NotStored, Accepted]
    assert len(simulated.gateway.effects) == 2
    assert simulated.real.work_counts() == {}


def test_currencies_and_gateways_are_told(simulated: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door tells what it can be asked for."""
    monkeypatch.setattr("actors.system.STATUS_TIMEOUT_S", 0.01)
    assert simulated.system.gateway_currencies() == {GATEWAY: frozenset({"USD", "JPY"})}
    with pytest.raises(TimeoutError):
        simulated.system.gateways()  # nobody steps the runtime while this thread waits
