"""All actors of a process together in virtual time: the start after a death, the drain, rest, and passivation."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from actors.replies import Accepted, NotStored, SignatureInvalid
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Status
from store.codec import Metadata
from store.errors import StoreUnavailableError
from store.port import DeadLetterFilter, GatewayMode
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, Trouble, TroubledStore
from tests.actors.system.fixtures import SETTINGS, Service


def run(service: Service, seconds: float) -> None:
    """Let virtual ``seconds`` pass with everything that happens in them."""
    runtime = service.runtime
    assert isinstance(runtime, SimulatedRuntime)
    end = runtime.monotonic() + seconds
    runtime.run(end)
    runtime.advance(max(end - runtime.monotonic(), 0.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database file of the fixtures' store."""
    return tmp_path / "payments.db"


@pytest.fixture
def simulated(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Service:
    """A started service in virtual time."""
    service = Service(runtime, store, real_store)
    service.system.start()
    return service


def test_a_service_that_has_not_started_stores_nothing(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """Before the start a command is answered NotStored, and the service reports that it is not ready."""
    service = Service(runtime, store, real_store)
    assert service.facade.problems()
    reply = service.receive()
    assert isinstance(reply, NotStored)
    assert store.batches == []
    service.system.start()
    run(service, 0.0)
    assert service.facade.problems() == []
    service.facade.begin_stopping()
    assert service.facade.problems()


def test_a_forged_callback_is_unverified_before_the_start_as_well(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """Its signature needs no store, and a forger must not be asked to send it again."""
    service = Service(runtime, store, real_store)
    assert service.facade.callback(GATEWAY, {}, b"{}", Metadata("r-1")) == SignatureInvalid()


@pytest.mark.parametrize("failing", ["release_dead", "gateway_modes", "breakers", "register_owner"])
def test_before_the_start_no_operator_command_starts_an_actor(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore, failing: str
) -> None:
    """Due work would be sent before the operator's modes are read, so no operator command is accepted either."""
    # The runtime makes no step while this thread waits.
    service = Service(runtime, store, real_store, request_deadline_s=0.01)
    real_store.set_gateway_mode(GatewayMode(GATEWAY, "open", "maintenance"))
    store.inject(failing, StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        service.system.start()
    before = [*store.calls]
    with pytest.raises(StoreUnavailableError):
        service.facade.set_breaker_mode(GatewayMode(GATEWAY, "closed", "enough"))
    with pytest.raises(StoreUnavailableError):
        service.facade.retry_dead_letters("main", DeadLetterFilter())
    run(service, 60.0)
    assert store.calls == before
    assert real_store.gateway_modes()[GATEWAY].mode == "open"
    service.system.start()
    run(service, 1.0)
    assert service.facade.problems() == []


@pytest.mark.parametrize("steps", [0, 3, 10, 20, 40, 80])
def test_a_successor_finishes_what_a_killed_process_left(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore, path: Path, steps: int
) -> None:
    """Wherever the first process ended, the next one finishes every deposit on record, each with one effect."""
    first = Service(runtime, store, real_store)
    first.system.start()
    sent = [first.send(f"c{n % 2}") for n in range(6)]
    for _ in range(steps):
        runtime.step(runtime.monotonic() + 1.0)
    next_runtime = SimulatedRuntime(random.Random(steps), started_at=runtime.monotonic() + 1.0)
    next_store = SqliteStore(path, clock=next_runtime.now, synchronous="OFF")
    second = Service(next_runtime, next_store, next_store, first.gateway)
    second.system.start()
    run(second, 10.0)  # before any lease is over: with exclusive access all old leases are void
    with next_store.audit() as audit:
        rows = [row for key in audit.streams() for row in audit.transactions(key)]
    assert {row.status for row in rows} <= {Status.COMPLETED}
    assert {row.transaction_id for row in rows} == set(first.gateway.effects)
    assert next_store.work_counts() == {}
    answered = [it for it in sent if not isinstance(it, NotStored) and it.reply.done]
    accepted = {it.command.transaction_id for it in answered if isinstance(it.reply.get(timeout=0), Accepted)}
    assert accepted <= {row.transaction_id for row in rows}
    next_store.close()


def test_a_service_is_not_at_rest_before_the_drain_is_handled(simulated: Service) -> None:
    """While the supervisor may still send, the system is not at rest: leases given back then could be sent twice."""
    sent = simulated.send()
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
    """At rest, the outcomes of all calls are stored, so giving the leases back makes no answer stale."""
    runtime = simulated.runtime
    assert isinstance(runtime, SimulatedRuntime)
    sent = [simulated.send(f"c{n}") for n in range(8)]
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
    """Memory is bounded by recent activity: idle actors are stopped, and started again on demand."""
    for number in range(20):
        simulated.send(f"c{number}")
    run(simulated, 2.0)
    assert len(simulated.system.actors.customers) == 20
    run(simulated, 10.0)
    assert len(simulated.system.actors.customers) == 0
    sent = simulated.send("c3")
    run(simulated, 1.0)
    assert not isinstance(sent, NotStored)
    assert isinstance(sent.reply.get(timeout=0), Accepted)
    assert len(simulated.system.actors.customers) == 1


def test_a_burst_of_idle_customers_is_stopped_in_portions(simulated: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep stops a bounded number of actors, and the next sweeps stop the others."""
    monkeypatch.setattr("actors.system.SWEEP_MAX", 10)
    for number in range(35):
        simulated.send(f"c{number}")
    run(simulated, 5.5)
    assert len(simulated.system.actors.customers) > 10
    run(simulated, 10.0)
    assert len(simulated.system.actors.customers) == 0


def test_the_service_goes_on_while_the_store_is_away_for_a_while(simulated: Service, store: TroubledStore) -> None:
    """During a minute without the store no accepted command is lost, and new commands are refused."""
    before = simulated.send("a")
    run(simulated, 0.0)
    for method in ("append", "load", "claim_work", "heartbeat", "release_dead", "next_due_s"):
        store.inject(method, *[Trouble(StoreUnavailableError("away")) for _ in range(12)])
    meanwhile = simulated.send("b")
    run(simulated, 60.0)
    store._trouble.clear()
    after = simulated.send("b")
    run(simulated, 60.0)
    answers = [it.reply.get(timeout=0) for it in (before, meanwhile, after) if not isinstance(it, NotStored)]
    assert [type(answer) for answer in answers] == [Accepted, NotStored, Accepted]
    assert len(simulated.gateway.effects) == 2
    assert simulated.real.work_counts() == {}


def test_currencies_and_gateways_are_listed(simulated: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The facade lists the gateways and their currencies."""
    monkeypatch.setattr("actors.service.STATUS_TIMEOUT_S", 0.01)
    assert simulated.facade.gateway_currencies() == {GATEWAY: frozenset({"USD", "JPY"})}
    with pytest.raises(TimeoutError):
        simulated.facade.gateways()  # no step happens while this thread waits


def test_a_beat_that_is_overdue_makes_the_service_unready(simulated: Service) -> None:
    """A store that does not answer is reported as a problem, until a beat succeeds."""
    run(simulated, 1.0)
    assert simulated.facade.problems() == []
    runtime = simulated.runtime
    assert isinstance(runtime, SimulatedRuntime)
    runtime.advance(max(SETTINGS.lease_s, 10.0) + 1.0)  # nothing runs meanwhile
    assert any("heartbeat" in problem for problem in simulated.facade.problems())
    run(simulated, 1.0)
    assert simulated.facade.problems() == []
