"""The supervisor killed while it works: lanes, slots and breakers outlive it, and nothing that waits is stranded."""

from __future__ import annotations

from typing import Any

import pytest

from actors.messages import StatusRequest
from actors.replies import GatewayStatus
from actors.runtime.actor import Future
from domain.outcomes import (
    Outcome,
    OutcomeUnknownError,
)
from gateways.port import Order
from tests.actors.bulkheads import FAILURES, SLEEP_S, Supervised, work
from tests.actors.support import GATEWAY


def raising(error: BaseException) -> Any:
    """A gateway's answer that is none."""

    def answer(_: Order) -> Outcome:
        raise error

    return answer


@pytest.fixture
def it() -> Supervised:
    """A supervisor of one gateway with three slots."""
    return Supervised()


def trip(it: Supervised) -> None:
    """Have the breaker open."""
    it.gateway.answer = raising(OutcomeUnknownError("timeout"))
    for _ in range(FAILURES):
        it.submit(work())
        it.end()
    assert it.bulkheads[GATEWAY].breaker.state == "open"


@pytest.mark.parametrize("state", ["closed", "open"])
def test_what_waits_and_the_breaker_survive_the_actors_death(it: Supervised, state: str) -> None:
    """A successor goes on with the same lanes: nothing waiting is lost, no slot, no state of a breaker."""
    if state == "open":
        trip(it)
    items = [work() for _ in range(6)]
    it.submit(*items)
    out = len(it.out)
    answered: Future[tuple[GatewayStatus, ...]] = Future()
    answered.set(())
    it.address.tell(StatusRequest(answered))  # to answer it again kills
    it.run()
    assert it.address.deaths > 0
    assert it.bulkheads[GATEWAY].breaker.state == state
    assert it.bulkheads[GATEWAY].in_flight == out
    it.gateway.answer = it.gateway.accept
    it.run(SLEEP_S + 0.5)
    it.end_all()
    assert list(it.gateway.effects) == [item.work_id for item in items]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_death_when_the_breaker_turns_stalls_no_lane(it: Supervised, nth: int) -> None:
    """Whatever waits goes on soon after the actor died at the breaker's nth turn, though nobody tells it anything."""
    turns = []

    def changed(gateway: str, state: str) -> None:
        turns.append(state)
        if len(turns) == nth:
            raise RuntimeError(f"cannot say that {gateway} is {state}")

    it.heard.breaker_changed = changed  # type: ignore[method-assign]
    it.gateway.answer = raising(OutcomeUnknownError("timeout"))
    items = [work() for _ in range(10)]
    it.submit(*items)
    for _ in range(FAILURES):
        it.end()
    it.gateway.answer = it.gateway.accept
    for _ in range(10):
        it.run(SLEEP_S)
        it.end_all()
    assert len(it.results()) == 10
    assert it.address.deaths == 1
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_an_executor_that_cannot_take_a_call_loses_no_work(it: Supervised) -> None:
    """When no thread can be started, the work waits on and its slot stays free: it goes out when there is one again."""
    original = it.slots[GATEWAY].submit
    failures = [RuntimeError("can't start new thread")]

    def submit(function: Any, /) -> None:
        if failures:
            raise failures.pop()
        original(function)

    it.bulkheads[GATEWAY].executor.submit = submit  # type: ignore[method-assign]
    items = [work(), work()]
    it.submit(*items)
    assert not it.out
    it.run(2.0)
    it.end_all()
    assert {item.work_id for item in items} <= set(it.gateway.effects)
    assert it.bulkheads[GATEWAY].in_flight == 0
