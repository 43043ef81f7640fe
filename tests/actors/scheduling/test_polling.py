"""A process that shares its store finds the work of others by itself, and one that makes no calls leaves it."""

from __future__ import annotations

import logging

import pytest

from actors.messages import CapacityFree, Recovered, RetryDead, Submit
from actors.operations.callback import StoredCallbackOperation
from actors.operations.waiting_callbacks import EVENT_TYPE, queue_of, stream_of_gateway
from actors.runtime.actor import Future
from actors.runtime.simulated import SimulatedRuntime
from actors.scheduler import POLL_S
from store.errors import CorruptStoreError, StoreUnavailableError
from store.port import Action, DeadLetterFilter, Head, OpenWork, Part, WorkState, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.scheduling.fixtures import LEASE_S, Scenario
from tests.actors.support import GATEWAY, TroubledStore
from tests.store.builders import Customer, Step, move


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """Started actors of a process that shares its store."""
    scenario = Scenario(runtime, store, real_store, polls=True)
    scenario.start()
    scenario.run(POLL_S / 2)
    return scenario


@pytest.fixture
def accepting(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """Started actors of a process that makes no calls."""
    scenario = Scenario(runtime, store, real_store, processing=False)
    scenario.start()
    return scenario


def keep_a_callback(scenario: Scenario) -> None:
    """Another process stores a callback whose transaction is not known."""
    work = OpenWork("callback:1", None, queue_of(GATEWAY), Action.APPLY, EVENT_TYPE, None, b"unreadable")
    scenario.real.append([Write(stream_of_gateway(GATEWAY), Head(), (Part(work=(work,)),))])


def dead_letter(scenario: Scenario, key: str) -> None:
    """A dead letter of another process, far from due."""
    customer = Customer(f"c-{key}")
    customer.now = scenario.runtime.now()
    letter = move(key, state=WorkState.DEAD, delay_s=1_000.0)
    scenario.real.append([customer.deposit(key), customer.write(Step(work=(letter,)))])


def test_the_work_of_others_is_found_within_half_a_second(scenario: Scenario) -> None:
    """No message announces it here. All of it is claimed, of each gateway."""
    ids = scenario.queued(3)
    customer = Customer("other")
    customer.now = scenario.runtime.now()
    scenario.real.append([customer.deposit("t-b", gateway="gatewayB")])
    scenario.run(POLL_S)
    assert sorted(scenario.claimed()) == sorted([*ids, "t-b"])


def test_work_that_becomes_due_is_found_as_soon(scenario: Scenario) -> None:
    """Another process planned it, and may be dead by then."""
    ids = scenario.queued(delay_s=1.0)
    scenario.run(0.9)
    assert scenario.claimed() == []
    scenario.run(POLL_S + 0.1)
    assert scenario.claimed() == ids


def test_a_retried_dead_letter_is_found_as_soon(scenario: Scenario) -> None:
    """An operator retried it through another process."""
    dead_letter(scenario, "t-dead")
    scenario.real.retry_dead("main", DeadLetterFilter())
    scenario.run(POLL_S)
    assert scenario.claimed() == ["t-dead"]


def test_stored_callbacks_of_others_are_found_as_soon(scenario: Scenario) -> None:
    """They are matched here, also while the gateway's breaker admits nothing."""
    scenario.backpressure.claimable[GATEWAY] = 0
    keep_a_callback(scenario)
    scenario.run(POLL_S)
    assert scenario.real.work_counts() == {(queue_of(GATEWAY), "parked"): 1}, "it was claimed, and cannot be read"


@pytest.mark.parametrize("claimable", [0, 5])
def test_a_gateway_without_capacity_is_not_asked_for(scenario: Scenario, store: TroubledStore, claimable: int) -> None:
    """While its breaker is open, or its batch is not taken, due work costs no claims."""
    scenario.backpressure.claimable[GATEWAY] = claimable
    scenario.queued(1)
    scenario.run(POLL_S)
    assert len(scenario.supervisor.of(Submit)) == min(claimable, 1)
    scenario.queued(1, first=2)
    before = store.calls.count("claim_work")
    scenario.run(2.0)
    assert store.calls.count("claim_work") == before
    scenario.backpressure.claimable[GATEWAY] = 5
    scenario.address.tell(CapacityFree(GATEWAY))
    scenario.run(0.1)
    assert scenario.claimed() == ["t-0001", "t-0002"]


def test_a_poll_costs_one_query(scenario: Scenario, store: TroubledStore) -> None:
    """However many gateways and queues there are."""
    store.calls.clear()
    scenario.run(LEASE_S / 3 - 1)
    assert set(store.calls) == {"queued_due"}
    assert len(store.calls) == (LEASE_S / 3 - 1) / POLL_S


def test_a_drain_ends_it(scenario: Scenario, store: TroubledStore) -> None:
    """Work that becomes due while the service stops is left to other processes, and not looked for."""
    scenario.backpressure.drain()
    scenario.run(POLL_S)
    store.calls.clear()
    scenario.queued(1)
    scenario.run(4.0)
    assert (scenario.claimed(), store.calls) == ([], [])


def test_an_exclusive_store_is_not_polled(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """No other process queues work there."""
    scenario = Scenario(runtime, store, real_store)
    scenario.start()
    scenario.run(LEASE_S)
    assert "queued_due" not in store.calls


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), CorruptStoreError("odd"), RuntimeError("a defect")])
def test_a_failing_store_does_not_stop_it(
    scenario: Scenario, store: TroubledStore, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks again, without a busy loop, and logs the error once until the store answers."""
    store.inject("queued_due", *[error] * 4)
    store.calls.clear()
    with caplog.at_level(logging.WARNING):
        scenario.run(2.2)
    assert store.calls.count("queued_due") in {4, 5}
    assert [record.getMessage() for record in caplog.records] == [f"due work cannot be listed: {error}"]
    assert bool(caplog.records[0].exc_info) == isinstance(error, RuntimeError)
    ids = scenario.queued(1)
    scenario.run(POLL_S)
    assert scenario.claimed() == ids
    store.inject("queued_due", error)
    with caplog.at_level(logging.WARNING):
        scenario.run(POLL_S)
    assert len(caplog.records) == 2


def test_deaths_do_not_multiply_its_polls(scenario: Scenario, store: TroubledStore) -> None:
    """A successor polls in place of its predecessor, and not beside it."""
    for _ in range(10):
        store.inject("queued_due", SystemExit())
        scenario.run(3.0)
    assert scenario.address.deaths > 0
    store.calls.clear()
    scenario.run(10.0)
    assert store.calls.count("queued_due") <= 10.0 / POLL_S + 1


def test_a_process_without_calls_releases_nothing(accepting: Scenario, real_store: SqliteStore) -> None:
    """The work of dead processes is left to those that call gateways. So it counts no takeover either."""
    real_store.register_owner("dead")
    accepting.queued(2, owner="dead")
    accepting.run(4 * LEASE_S)
    assert real_store.work_counts() == {(GATEWAY, "leased"): 2}
    assert (accepting.heard.taken, real_store.heartbeat("dead")) == (0, True)


def test_a_process_without_calls_retries_dead_letters_for_operators(accepting: Scenario) -> None:
    """Operators' commands work there. The dead letters are queued, and processes that call gateways claim them."""
    dead_letter(accepting, "t-dead")
    reply: Future[int] = Future()
    accepting.dead_letters.tell(RetryDead("main", DeadLetterFilter(), reply))
    accepting.run(LEASE_S)
    assert reply.get() == 1
    assert accepting.claimed() == []
    assert accepting.real.work_counts() == {(GATEWAY, "queued"): 1}


def test_a_process_without_calls_leaves_dead_letters_and_callbacks(accepting: Scenario, store: TroubledStore) -> None:
    """It neither sends nor matches them, and makes no lookups due when a gateway answers again."""
    keep_a_callback(accepting)
    accepting.queued(1, delay_s=1.0)
    before = accepting.real.work_counts()
    accepting.address.tell(Recovered(GATEWAY))
    accepting.run(4 * LEASE_S)
    assert accepting.real.work_counts() == before
    assert accepting.customers.of(StoredCallbackOperation) == []
    assert {"claim_work", "hasten_lookups", "queued_due", "release_dead", "append"}.isdisjoint(store.calls)
