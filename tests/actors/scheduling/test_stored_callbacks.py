"""The timer's part in stored callbacks: matched at each beat, whatever the gateway's breaker says; never dropped."""

from __future__ import annotations

import orjson
import pytest

from actors.heartbeat import BEAT_MAX_S
from actors.leases import LANDS_WITHIN_S
from actors.messages import Submit
from actors.operations.callback import EVENT_TYPE, CallbackReport, queue_of, stream_of_gateway
from actors.runtime.simulated import SimulatedRuntime
from store.errors import StoreUnavailableError
from store.port import Action, DeadLetterFilter, Head, OpenWork, Part, WorkState, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.scheduling.fixtures import Scenario
from tests.actors.support import GATEWAY, TroubledStore
from tests.store.builders import Customer

SAID = {
    "event_id": "evt-1",
    "reference": "t-1",
    "gateway_reference": "A-1",
    "minor": 10_000,
    "currency": "USD",
    "completed": True,
    "code": None,
    "message": None,
    "received_at": "2026-11-22T12:00:00.000000Z",
    "correlation_id": "r-1",
    "causation_id": "gatewayA:evt-1",
}


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """An actor whose gateway's breaker lets nothing through, and that has begun."""
    scenario = Scenario(runtime, store, real_store)
    scenario.backpressure.claimable[GATEWAY] = 0
    scenario.start()
    return scenario


def keep(scenario: Scenario, payload: bytes) -> None:
    """Store a callback that nobody has matched yet."""
    nobody, queue = stream_of_gateway(GATEWAY), queue_of(GATEWAY)
    work = OpenWork("callback:1", None, queue, Action.APPLY, EVENT_TYPE, None, payload)
    scenario.real.append([Write(nobody, Head(), (Part(work=(work,)),))])


def told(scenario: Scenario) -> list[bool]:
    """For each report that customers' actors got, whether its transaction was found."""
    return [report.command is not None for report in scenario.customers.of(CallbackReport)]


@pytest.mark.parametrize("known", [True, False])
def test_a_stored_callback_needs_no_breaker(scenario: Scenario, *, known: bool) -> None:
    """Its turn comes with the next beat; the supervisor, whose slots are for calls, hears nothing of it."""
    if known:
        scenario.real.append([Customer("c1").deposit("t-1", owner="somebody")])
    keep(scenario, orjson.dumps(SAID))
    scenario.run(BEAT_MAX_S + 0.1)
    assert told(scenario) == [known]
    assert scenario.supervisor.of(Submit) == []


def test_one_that_could_not_be_looked_at_is_given_back(scenario: Scenario, store: TroubledStore) -> None:
    """It is not held for ever by a process in which nobody works on it."""
    keep(scenario, orjson.dumps(SAID))
    store.befall("stream_of", StoreUnavailableError("away"))
    scenario.run(LANDS_WITHIN_S)
    assert told(scenario) == [False]


def test_one_that_cannot_be_read_waits_for_a_person(scenario: Scenario) -> None:
    """Parked with the reason, and nobody is held up by it."""
    keep(scenario, b"{")
    scenario.run(BEAT_MAX_S + 0.1)
    letter = scenario.real.dead_letter("main", "callback:1")
    assert letter is not None
    assert letter.state is WorkState.PARKED
    assert "cannot be read" in letter.item.errors[-1].error
    assert told(scenario) == []


def test_one_that_could_not_be_parked_is_given_back(scenario: Scenario, store: TroubledStore) -> None:
    """The store fails just then: the lease goes back with the next beat, and the callback is parked after that."""
    keep(scenario, b"{")
    store.befall("append", StoreUnavailableError("away"))
    scenario.run(LANDS_WITHIN_S)
    assert store.troubles_left == 0
    letter = scenario.real.dead_letter("main", "callback:1")
    assert letter is not None
    assert letter.state is WorkState.PARKED


def test_a_person_may_have_it_looked_at_again(scenario: Scenario) -> None:
    """A parked one is a dead letter of its gateway, for one order and for all."""
    keep(scenario, b"{")
    scenario.run(BEAT_MAX_S + 0.1)
    for where in (DeadLetterFilter(work_id="callback:1"), DeadLetterFilter(gateway=GATEWAY), DeadLetterFilter()):
        reply = scenario.retry(where)
        scenario.run(BEAT_MAX_S + 0.1)
        assert reply.get(timeout=0) == 1
    letter = scenario.real.dead_letter("main", "callback:1")
    assert letter is not None
    assert len(letter.item.errors) == 4
