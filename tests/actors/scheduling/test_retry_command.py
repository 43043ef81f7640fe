"""The operator's retry of dead letters: durable, and answered once. Lookups that a recovery makes due."""

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
    """Actors that have started."""
    scenario = Scenario(runtime, store, real_store)
    scenario.start()
    return scenario


def store_letter(
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
        (DeadLetterFilter(work_id="absent"), []),
    ],
)
def test_dead_letters_are_retried_at_once(scenario: Scenario, where: DeadLetterFilter, expected: list[str]) -> None:
    """The merchant's matching ones, and no others, go to the supervisor; the answer is their number."""
    store_letter(scenario, "a-dead", WorkState.DEAD)
    store_letter(scenario, "a-parked", WorkState.PARKED)
    store_letter(scenario, "b-dead", WorkState.DEAD, gateway="gatewayB")
    store_letter(scenario, "queued", WorkState.QUEUED)
    store_letter(scenario, "theirs", WorkState.DEAD, merchant="other")
    store_letter(scenario, "unconfigured", WorkState.DEAD, gateway="gatewayC")  # no process sends it, no list shows it
    reply = scenario.retry(where)
    assert reply.get(timeout=0) == len(expected)
    assert sorted(scenario.claimed()) == expected
    assert all(item.attempts == 5 for item in scenario.items())
    assert scenario.retry(where).get(timeout=0) == 0
    assert scenario.real.dead_letter("main", "unconfigured") is not None


def test_a_retry_that_is_partly_done_is_not_reported_as_unchanged(scenario: Scenario, store: TroubledStore) -> None:
    """It is executed gateway by gateway: the first one's letters are queued, whatever happens at the next."""
    store_letter(scenario, "x", WorkState.PARKED)
    store_letter(scenario, "y", WorkState.PARKED, gateway="gatewayB")
    store.inject("retry_dead", None, AWAY)
    with pytest.raises(TimeoutError):
        scenario.retry().get(timeout=0)
    scenario.run(LEASE_S)
    assert len(scenario.claimed()) == 1
    assert scenario.retry().get(timeout=0) == 1
    assert sorted(scenario.claimed()) == ["x", "y"]


def test_a_retry_without_capacity_waits(scenario: Scenario) -> None:
    """The command is executed in the store; the supervisor gets no more than it has capacity for."""
    scenario.queued(1)
    scenario.run(LEASE_S)
    assert len(scenario.claimed()) == 1
    store_letter(scenario, "x", WorkState.PARKED)
    assert scenario.retry().get(timeout=0) == 1
    assert len(scenario.claimed()) == 1
    scenario.address.tell(CapacityFree(GATEWAY))
    scenario.run(0.0)
    assert scenario.claimed()[-1] == "x"


@pytest.mark.parametrize("error", [AWAY, CorruptStoreError("odd"), RuntimeError("a defect"), UnstorableError("no")])
def test_a_retry_that_the_store_fails_is_answered_with_its_error(
    scenario: Scenario, store: TroubledStore, error: Exception
) -> None:
    """The caller gets the error, nothing has changed, and the actors live."""
    store_letter(scenario, "x", WorkState.PARKED)
    store.inject("retry_dead", error)
    reply = scenario.retry()
    with pytest.raises(type(error)):
        reply.get(timeout=0)
    assert scenario.claimed() == []
    assert scenario.dead_letters.deaths == 0
    scenario.run(LEASE_S)
    assert scenario.real.heartbeat(OWNER)


@pytest.mark.parametrize("stored", [False, True])
def test_a_retry_with_an_uncertain_commit_is_a_timeout(
    scenario: Scenario, store: TroubledStore, *, stored: bool
) -> None:
    """A store error would mean that nothing has changed, which may be false."""
    store_letter(scenario, "x", WorkState.PARKED)
    store.inject("retry_dead", Trouble(CommitUncertainError("cut"), after=stored))
    reply = scenario.retry()
    with pytest.raises(TimeoutError):
        reply.get(timeout=0)
    scenario.run(LEASE_S)
    assert scenario.claimed() == (["x"] if stored else [])


@pytest.mark.parametrize("after", [False, True])
def test_a_retry_that_kills_is_executed_and_answered_once(
    scenario: Scenario, store: TroubledStore, *, after: bool
) -> None:
    """Redelivered to the successor, it is executed and answered normally."""
    store_letter(scenario, "x", WorkState.PARKED)
    store.inject("retry_dead", Trouble(SystemExit(), after=after))
    reply = scenario.retry()
    scenario.run(LEASE_S)
    assert scenario.dead_letters.deaths == 1
    assert reply.get(timeout=0) in {0, 1}
    assert scenario.claimed() == ["x"]


def test_a_repeated_retry_is_answered_once(scenario: Scenario) -> None:
    """A repeated command whose reply is set: setting it twice would kill the actor."""
    store_letter(scenario, "x", WorkState.PARKED)
    reply: Future[int] = Future()
    reply.set(0)
    scenario.dead_letters.tell(RetryDead("main", DeadLetterFilter(), reply))
    scenario.run(1.0)
    assert scenario.dead_letters.deaths == 0
    assert reply.get(timeout=0) == 0


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut"), RuntimeError("a defect")])
def test_lookups_that_cannot_be_pulled_forward_keep_their_time(
    scenario: Scenario, store: TroubledStore, error: Exception
) -> None:
    """They keep their due times; the actor continues to beat and to claim."""
    store.inject("hasten_lookups", error)
    scenario.address.tell(Recovered(GATEWAY))
    scenario.run(0.0)
    ids = scenario.queued(1)
    scenario.run(LEASE_S)
    assert scenario.claimed() == ids


def test_lookups_at_a_recovered_gateway_are_due_at_once(scenario: Scenario) -> None:
    """All its open lookups are claimed now; dead letters and other gateways keep their due times."""
    store_letter(scenario, "lookup", WorkState.QUEUED, action=Action.RESOLVE)
    store_letter(scenario, "theirs", WorkState.QUEUED, action=Action.RESOLVE, gateway="gatewayB")
    store_letter(scenario, "dead", WorkState.DEAD)
    store_letter(scenario, "retry", WorkState.QUEUED)
    scenario.address.tell(Recovered(GATEWAY))
    scenario.run(LEASE_S)
    assert scenario.claimed() == ["lookup"]
