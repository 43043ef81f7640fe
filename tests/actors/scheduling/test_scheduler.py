"""The scheduler: claims all work when it is due, takes over the work of dead processes, and survives every error."""

from __future__ import annotations

import pytest

from actors.backpressure import CLAIM_MAX
from actors.messages import CapacityFree, Submit, TimerFired, WorkDue
from actors.runtime.simulated import SimulatedRuntime
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError
from store.sqlite.adapter import SqliteStore
from tests.actors.scheduling.fixtures import LEASE_S, Scenario
from tests.actors.support import GATEWAY, OWNER, Trouble, TroubledStore
from tests.store.builders import Customer


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """Actors that have not started."""
    return Scenario(runtime, store, real_store)


def test_what_is_queued_at_the_start_is_claimed(scenario: Scenario) -> None:
    """Unfinished work of earlier processes is leased to this one and passed to the supervisor."""
    ids = scenario.queued(3)
    scenario.start()
    assert scenario.claimed() == ids
    assert all(submit.claimed for submit in scenario.supervisor.of(Submit))
    assert scenario.real.work_counts() == {(GATEWAY, "leased"): 3}


def test_work_is_claimed_when_it_is_due_and_not_before(scenario: Scenario) -> None:
    """Work with a due time is claimed at that time, announced or not."""
    scenario.start()
    [reported] = scenario.queued(delay_s=2.0)
    scenario.address.tell(WorkDue(GATEWAY, 2.0))
    scenario.run(1.9)
    assert scenario.claimed() == []
    scenario.run(0.3)
    assert scenario.claimed() == [reported]
    scenario.address.tell(CapacityFree(GATEWAY))
    [untold] = scenario.queued(first=2, delay_s=7.0)
    scenario.run(6.9)
    assert scenario.claimed() == [reported]
    scenario.run(LEASE_S / 3)
    assert scenario.claimed() == [reported, untold]


def test_an_earlier_time_moves_the_timer_forward(scenario: Scenario) -> None:
    """The earliest of all announced due times counts, in whatever order they come."""
    scenario.start()
    scenario.queued(1, first=1, delay_s=1.0)
    for delay_s in (4.0, 1.0, 3.0):
        scenario.address.tell(WorkDue(GATEWAY, delay_s))
    scenario.run(1.2)
    assert scenario.claimed() == ["t-0001"]


def test_a_late_timer_leaves_no_second_one(scenario: Scenario) -> None:
    """A timer that fires as it is replaced does not run on beside the present timer."""
    scenario.start()
    before = len(scenario.runtime._timers)
    for _ in range(50):
        scenario.address.tell(TimerFired(GATEWAY))
        scenario.address.tell(WorkDue(GATEWAY, 1.0))
        scenario.run(0.001)
    assert len(scenario.runtime._timers) <= before + 1


def test_one_batch_is_claimed_until_there_is_capacity(scenario: Scenario) -> None:
    """It claims at most CLAIM_MAX pieces of a gateway, and no more before the supervisor sends CapacityFree."""
    ids = scenario.queued(CLAIM_MAX + 50)
    scenario.start()
    scenario.run(4 * LEASE_S)
    assert scenario.claimed() == ids[:CLAIM_MAX]
    scenario.address.tell(CapacityFree(GATEWAY))
    scenario.run(0.0)
    assert sorted(scenario.claimed()) == sorted(ids)


def test_one_gateways_batch_holds_up_no_other(scenario: Scenario, real_store: SqliteStore) -> None:
    """Each gateway has its own capacity."""
    scenario.queued(CLAIM_MAX + 1)
    real_store.append([Customer("other").deposit("t-other", gateway="gatewayB")])
    scenario.start()
    assert "t-other" in scenario.claimed()


def test_the_work_of_a_dead_owner_is_taken_over(scenario: Scenario, real_store: SqliteStore) -> None:
    """At any time: when an owner sends no heartbeat for the time of a lease, its work is claimed here."""
    scenario.start()
    real_store.register_owner("dead")
    ids = scenario.queued(2, owner="dead")
    scenario.run(LEASE_S - 0.5)
    assert scenario.claimed() == []
    scenario.run(LEASE_S)
    assert scenario.claimed() == ids
    assert all(item.token > 1 for item in scenario.items())


def test_a_living_process_keeps_its_leases(scenario: Scenario) -> None:
    """The heartbeat is sent often enough that no process considers this one dead."""
    scenario.start()
    for _ in range(20):
        scenario.run(LEASE_S / 2)
        assert scenario.real.release_dead(LEASE_S) == 0


def test_a_process_that_was_taken_for_dead_registers_again(scenario: Scenario, real_store: SqliteStore) -> None:
    """A process that others considered dead registers again, and claims again."""
    scenario.start()
    real_store.retire_owner(OWNER, unsent=True)
    ids = scenario.queued(1)
    scenario.run(LEASE_S)
    assert scenario.claimed() == ids
    assert real_store.heartbeat(OWNER)


def test_a_process_that_only_accepts_claims_nothing(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """Without processing it sends heartbeats, and leaves all work to other processes."""
    scenario = Scenario(runtime, store, real_store, processing=False)
    scenario.queued(1)
    scenario.start()
    scenario.address.tell(WorkDue(GATEWAY, 0.0))
    scenario.run(4 * LEASE_S)
    assert scenario.claimed() == []
    assert real_store.heartbeat(OWNER)


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), CorruptStoreError("odd"), RuntimeError("a defect")])
@pytest.mark.parametrize("method", ["heartbeat", "register_owner", "release_dead", "claim_work", "next_due_s"])
def test_a_failing_store_does_not_stop_it(
    scenario: Scenario, store: TroubledStore, method: str, error: Exception
) -> None:
    """Whichever call fails, and with any error, it continues to beat, and claims when the store works again."""
    scenario.start()
    if method == "register_owner":
        scenario.real.retire_owner(OWNER, unsent=True)
    store.inject(method, error, error)
    ids = scenario.queued(2)
    scenario.address.tell(WorkDue(GATEWAY, 0.0))
    scenario.run(6 * LEASE_S)
    assert store.troubles_left == 0
    assert scenario.claimed() == ids
    assert scenario.real.heartbeat(OWNER)


@pytest.mark.parametrize("method", ["heartbeat", "release_dead", "claim_work", "next_due_s"])
def test_a_store_that_always_fails_is_not_called_in_a_loop(
    scenario: Scenario, store: TroubledStore, method: str
) -> None:
    """A permanent defect costs a few calls per beat: no busy loop, and no other actor is delayed."""
    store.inject(method, *[RuntimeError("a defect") for _ in range(20_000)])
    scenario.queued(1)
    scenario.address.start()
    until = scenario.runtime.monotonic() + 60.0
    for _ in range(5_000):
        if not scenario.runtime.step(until):
            break
    assert scenario.runtime.monotonic() >= until - LEASE_S
    assert store.calls.count(method) < 200


@pytest.mark.parametrize("stored", [False, True])
def test_a_claim_whose_commit_is_uncertain_leaves_no_work_leased(
    scenario: Scenario, store: TroubledStore, *, stored: bool
) -> None:
    """Work that a lost claim leased to this process is claimed again within a few beats."""
    ids = scenario.queued(3)
    store.inject("claim_work", Trouble(CommitUncertainError("cut"), after=stored))
    scenario.start()
    for _ in range(10):
        scenario.run(LEASE_S)
        scenario.address.tell(CapacityFree(GATEWAY))
    assert sorted(set(scenario.claimed())) == ids


@pytest.mark.parametrize("stored", [False, True])
def test_a_claim_that_kills_its_actor_leaves_no_work_leased(
    scenario: Scenario, store: TroubledStore, *, stored: bool
) -> None:
    """The same must hold when the actor died of it: its successor gives all leases back."""
    ids = scenario.queued(3)
    store.inject("claim_work", Trouble(SystemExit(), after=stored))
    scenario.start()
    for _ in range(10):
        scenario.run(LEASE_S)
        scenario.address.tell(CapacityFree(GATEWAY))
    assert scenario.address.deaths == 1
    assert sorted(set(scenario.claimed())) == ids


def test_its_timers_do_not_pile_up(scenario: Scenario) -> None:
    """However often a near due time replaces a far one, the number of pending timers stays bounded."""
    scenario.start()
    scenario.queued(1, delay_s=80_000.0)
    for number in range(300):
        scenario.queued(1, first=1_000 + number)
        scenario.address.tell(WorkDue(GATEWAY, 0.0))
        scenario.run(0.2)
        scenario.address.tell(CapacityFree(GATEWAY))
        scenario.run(0.0)
    assert len(scenario.claimed()) == 300
    assert len(scenario.runtime._timers) < 50


def test_deaths_do_not_multiply_its_beats(scenario: Scenario, store: TroubledStore) -> None:
    """After many deaths there is one beat every third of a lease, and not one per actor."""
    scenario.start()
    for _ in range(20):
        store.inject("heartbeat", SystemExit())
        scenario.run(LEASE_S)
    before = store.calls.count("heartbeat")
    scenario.run(10 * LEASE_S)
    assert store.calls.count("heartbeat") - before <= 31
    assert scenario.address.deaths > 0


@pytest.mark.parametrize("method", ["heartbeat", "release_dead"])
def test_readiness_follows_the_store(scenario: Scenario, method: str) -> None:
    """While the store refuses the beat, this process is not ready, with the reason; the next beat ends that."""
    scenario.start()
    seen = [scenario.health.problem]
    scenario.store.inject(method, StoreUnavailableError("gone"))
    for _ in range(2):
        scenario.run(LEASE_S / 3 + 0.1)
        seen.append(scenario.health.problem)
    assert seen == [None, "The store does not answer: gone", None]


def test_nothing_is_claimed_while_the_service_stops(scenario: Scenario) -> None:
    """Work that becomes due then is left to the next process, without a lease that would delay it."""
    scenario.start()
    scenario.backpressure.drain()
    scenario.queued(3)
    scenario.run(60.0)
    assert scenario.claimed() == []
