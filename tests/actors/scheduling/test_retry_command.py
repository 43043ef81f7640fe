"""Orders of people that dead letters be done again: durable, and answered once."""

from __future__ import annotations

from typing import Any

import pytest

from actors.messages import CapacityFree, Recovered, RetryDead
from actors.runtime.actor import Future
from actors.runtime.simulated import SimulatedRuntime
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError, UnstorableError
from store.port import Action, DeadLetterFilter, WorkState, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.scheduling.fixtures import LEASE_S, Scenario
from tests.actors.support import GATEWAY, OWNER, Trouble, TroubledStore
from tests.store.builders import Customer, Step, move

AWAY = StoreUnavailableError("away")
DAY_S = 86_400.0


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """An actor that has begun."""
    scenario = Scenario(runtime, store, real_store)
    scenario.start()
    return scenario


def lay(
    scenario: Scenario, key: str, state: WorkState, *, gateway: str = GATEWAY, merchant: str = "main", **changes: Any
) -> str:
    """A dead letter that is due tomorrow."""
    customer = Customer(f"c-{key}", merchant)
    customer.now = scenario.runtime.now()
    writes: list[Write] = [customer.deposit(key, gateway=gateway)]
    writes.append(customer.write(Step(work=(move(key, state=state, delay_s=DAY_S, attempts=5, **changes),))))
    scenario.real.append(writes)
    return key


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (DeadLetterFilter(), ["a-dead", "a-parked", "b-dead"]),
        (DeadLetterFilter(state=WorkState.DEAD), ["a-dead", "b-dead"]),
        (DeadLetterFilter(state=WorkState.PARKED), ["a-parked"]),
        (DeadLetterFilter(gateway=GATEWAY), ["a-dead", "a-parked"]),
        (DeadLetterFilter(gateway="gatewayB", state=WorkState.PARKED), []),
        (DeadLetterFilter(gateway="gatewayC"), []),
        (DeadLetterFilter(work_id="a-parked"), ["a-parked"]),
        (DeadLetterFilter(work_id="queued"), []),
        (DeadLetterFilter(work_id="theirs"), []),
        (DeadLetterFilter(work_id="unconfigured"), []),
        (DeadLetterFilter(work_id="nobody"), []),
    ],
)
def test_dead_letters_are_done_again_at_once(scenario: Scenario, where: DeadLetterFilter, expected: list[str]) -> None:
    """Those of the merchant that fit, and no others, go to the supervisor; the answer is how many they are."""
    lay(scenario, "a-dead", WorkState.DEAD)
    lay(scenario, "a-parked", WorkState.PARKED)
    lay(scenario, "b-dead", WorkState.DEAD, gateway="gatewayB")
    lay(scenario, "queued", WorkState.QUEUED)
    lay(scenario, "theirs", WorkState.DEAD, merchant="other")
    lay(scenario, "unconfigured", WorkState.DEAD, gateway="gatewayC")  # nobody would do it, and no list would show it
    reply = scenario.retry(where)
    assert reply.get(timeout=0) == len(expected)
    assert sorted(scenario.claimed()) == expected
    assert all(item.attempts == 5 for item in scenario.items())
    assert scenario.retry(where).get(timeout=0) == 0
    assert scenario.real.dead_letter("main", "unconfigured") is not None


def test_an_order_that_is_half_carried_out_does_not_say_that_nothing_has_changed(
    scenario: Scenario, store: TroubledStore
) -> None:
    """It is carried out gateway by gateway; what the first of them has back is done, whatever the next one meets."""
    lay(scenario, "x", WorkState.PARKED)
    lay(scenario, "y", WorkState.PARKED, gateway="gatewayB")
    store.befall("retry_dead", None, AWAY)
    with pytest.raises(TimeoutError):
        scenario.retry().get(timeout=0)
    scenario.run(LEASE_S)
    assert len(scenario.claimed()) == 1
    assert scenario.retry().get(timeout=0) == 1
    assert sorted(scenario.claimed()) == ["x", "y"]


def test_what_is_ordered_while_there_is_no_room_waits_for_some(scenario: Scenario) -> None:
    """The order is carried out in the store; the supervisor gets no more than it asked for."""
    scenario.queued(1)
    scenario.run(LEASE_S)
    assert len(scenario.claimed()) == 1
    lay(scenario, "x", WorkState.PARKED)
    assert scenario.retry().get(timeout=0) == 1
    assert len(scenario.claimed()) == 1
    scenario.address.tell(CapacityFree(GATEWAY))
    scenario.run(0.0)
    assert scenario.claimed()[-1] == "x"


@pytest.mark.parametrize("error", [AWAY, CorruptStoreError("odd"), RuntimeError("a defect"), UnstorableError("no")])
def test_an_order_that_the_store_fails_at_is_answered_with_its_error(
    scenario: Scenario, store: TroubledStore, error: Exception
) -> None:
    """Nobody waits in vain, nothing has changed, and the actor beats on."""
    lay(scenario, "x", WorkState.PARKED)
    store.befall("retry_dead", error)
    reply = scenario.retry()
    with pytest.raises(type(error)):
        reply.get(timeout=0)
    assert scenario.claimed() == []
    assert scenario.dead_letters.deaths == 0
    scenario.run(LEASE_S)
    assert scenario.real.heartbeat(OWNER)


@pytest.mark.parametrize("stored", [False, True])
def test_an_order_of_which_nobody_knows_the_end_says_so(
    scenario: Scenario, store: TroubledStore, *, stored: bool
) -> None:
    """A store error would mean that nothing has changed, and that may be false."""
    lay(scenario, "x", WorkState.PARKED)
    store.befall("retry_dead", Trouble(CommitUncertainError("cut"), after=stored))
    reply = scenario.retry()
    with pytest.raises(TimeoutError):
        reply.get(timeout=0)
    scenario.run(LEASE_S)
    assert scenario.claimed() == (["x"] if stored else [])


@pytest.mark.parametrize("after", [False, True])
def test_an_order_that_kills_is_carried_out_and_answered_once(
    scenario: Scenario, store: TroubledStore, *, after: bool
) -> None:
    """Redelivered to the successor it is done, and answered, as if nothing had been."""
    lay(scenario, "x", WorkState.PARKED)
    store.befall("retry_dead", Trouble(SystemExit(), after=after))
    reply = scenario.retry()
    scenario.run(LEASE_S)
    assert scenario.dead_letters.deaths == 1
    assert reply.get(timeout=0) in {0, 1}
    assert scenario.claimed() == ["x"]


def test_an_order_that_comes_twice_is_answered_once(scenario: Scenario) -> None:
    """Also when its answer is there already: to set it twice would kill the actor."""
    lay(scenario, "x", WorkState.PARKED)
    reply: Future[int] = Future()
    reply.set(0)
    scenario.dead_letters.tell(RetryDead("main", DeadLetterFilter(), reply))
    scenario.run(1.0)
    assert scenario.dead_letters.deaths == 0
    assert reply.get(timeout=0) == 0


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut"), RuntimeError("a defect")])
def test_lookups_that_cannot_be_pulled_forward_disturb_nobody(
    scenario: Scenario, store: TroubledStore, error: Exception
) -> None:
    """Then they are made when it was planned; the actor beats on and claims."""
    store.befall("hasten_lookups", error)
    scenario.address.tell(Recovered(GATEWAY))
    scenario.run(0.0)
    ids = scenario.queued(1)
    scenario.run(LEASE_S)
    assert scenario.claimed() == ids


def test_a_recovered_gateway_is_asked_at_once(scenario: Scenario) -> None:
    """All its open lookups are claimed now; other gateways' and dead letters keep their time."""
    lay(scenario, "lookup", WorkState.QUEUED, action=Action.RESOLVE)
    lay(scenario, "theirs", WorkState.QUEUED, action=Action.RESOLVE, gateway="gatewayB")
    lay(scenario, "dead", WorkState.DEAD)
    lay(scenario, "retry", WorkState.QUEUED)
    scenario.address.tell(Recovered(GATEWAY))
    scenario.run(LEASE_S)
    assert scenario.claimed() == ["lookup"]
