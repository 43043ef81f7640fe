"""Stored callbacks: matched at each tick, whatever the state of the gateway's breaker, and never dropped."""

from __future__ import annotations

import orjson
import pytest

from actors.heartbeat import BEAT_MAX_S
from actors.leases import LANDS_WITHIN_S
from actors.messages import Submit
from actors.operations.callback import StoredCallbackOperation
from actors.operations.waiting_callbacks import EVENT_TYPE, queue_of, stream_of_gateway
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
    """Started actors, with a breaker that admits nothing."""
    scenario = Scenario(runtime, store, real_store)
    scenario.backpressure.claimable[GATEWAY] = 0
    scenario.start()
    return scenario


def keep(scenario: Scenario, payload: bytes) -> None:
    """Store a callback that is not matched yet."""
    gateway_stream, queue = stream_of_gateway(GATEWAY), queue_of(GATEWAY)
    work = OpenWork("callback:1", None, queue, Action.APPLY, EVENT_TYPE, None, payload)
    scenario.real.append([Write(gateway_stream, Head(), (Part(work=(work,)),))])


def reported(scenario: Scenario) -> list[bool]:
    """For each report to customers' actors, whether its transaction was found."""
    return [report.command is not None for report in scenario.customers.of(StoredCallbackOperation)]


@pytest.mark.parametrize("known", [True, False])
def test_a_stored_callback_needs_no_breaker(scenario: Scenario, *, known: bool) -> None:
    """It is matched at the next tick; the supervisor, whose slots are for calls, does not receive it."""
    if known:
        scenario.real.append([Customer("c1").deposit("t-1", owner="another")])
    keep(scenario, orjson.dumps(SAID))
    scenario.run(BEAT_MAX_S + 0.1)
    assert reported(scenario) == [known]
    assert scenario.supervisor.of(Submit) == []


def test_one_that_could_not_be_looked_at_is_given_back(scenario: Scenario, store: TroubledStore) -> None:
    """It does not stay leased to a process in which no actor works on it."""
    keep(scenario, orjson.dumps(SAID))
    store.inject("stream_of", StoreUnavailableError("away"))
    scenario.run(LANDS_WITHIN_S)
    assert reported(scenario) == [False]


def test_one_that_cannot_be_read_waits_for_an_operator(scenario: Scenario) -> None:
    """Parked with the reason; it delays no other work."""
    keep(scenario, b"{")
    scenario.run(BEAT_MAX_S + 0.1)
    letter = scenario.real.dead_letter("main", "callback:1")
    assert letter is not None
    assert letter.state is WorkState.PARKED
    assert "cannot be read" in letter.item.errors[-1].error
    assert reported(scenario) == []


def test_one_that_could_not_be_parked_is_given_back(scenario: Scenario, store: TroubledStore) -> None:
    """The store fails at that moment: the next beat gives the lease back, and the callback is parked after that."""
    keep(scenario, b"{")
    store.inject("append", StoreUnavailableError("away"))
    scenario.run(LANDS_WITHIN_S)
    assert store.troubles_left == 0
    letter = scenario.real.dead_letter("main", "callback:1")
    assert letter is not None
    assert letter.state is WorkState.PARKED


def test_an_operator_may_retry_it(scenario: Scenario) -> None:
    """A parked callback is a dead letter of its gateway, for single and bulk retries."""
    keep(scenario, b"{")
    scenario.run(BEAT_MAX_S + 0.1)
    for where in (DeadLetterFilter(work_id="callback:1"), DeadLetterFilter(gateway=GATEWAY), DeadLetterFilter()):
        reply = scenario.retry(where)
        scenario.run(BEAT_MAX_S + 0.1)
        assert reply.get(timeout=0) == 1
    letter = scenario.real.dead_letter("main", "callback:1")
    assert letter is not None
    assert len(letter.item.errors) == 4
