"""The gateway supervisor: bulkheads that hold, breakers that keep calls back, and work that is never lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.gateways.slow_start import SLOW_START_FIRST
from actors.gateways.supervisor import BACKPRESSURE_OFF_AT, BACKPRESSURE_ON_AT
from actors.messages import CapacityFree, Drain, NotSent, OutcomeReport, Unhandled
from domain.outcomes import (
    Approved,
    Category,
    Declined,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    Unknown,
)
from gateways.port import Order
from store.port import Action
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


def test_a_call_is_made_and_its_outcome_goes_to_the_customer(it: Supervised) -> None:
    """A piece of work is one call, and its outcome comes to its customer with the item that it belongs to."""
    item = work()
    it.submit(item)
    it.end()
    [report] = it.customer.of(OutcomeReport)
    assert report.item is item
    assert report.result == Approved(f"A-{item.work_id}", final=True)
    assert it.gateway.calls == [item.work_id]
    assert it.heard.calls == [(item.work_id, report.result)]


def test_the_bulkhead_holds(it: Supervised) -> None:
    """Never more calls are out than the gateway has slots, and a slot that gets free is used at once."""
    items = [work() for _ in range(10)]
    it.submit(*items)
    most = 0
    while it.out:
        most = max(most, len(it.out))
        assert len(it.out) == min(3, 10 - len(it.results()))
        it.end()
    assert most == 3
    assert it.gateway.calls == [item.work_id for item in items]
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_one_gateways_slow_calls_delay_no_other() -> None:
    """With every slot of one gateway taken for ever, another's work goes out as if nothing were."""
    it = Supervised(names=("slow", "quick"))
    it.submit(*[work("slow") for _ in range(100)])
    items = [work("quick") for _ in range(20)]
    it.submit(*items)
    while it.slots["quick"].out:
        it.slots["quick"].end()
        it.run()
    assert it.gateways["quick"].calls == [item.work_id for item in items]
    assert it.gateways["slow"].calls == []


def test_one_gateways_open_breaker_keeps_no_other_back() -> None:
    """Breakers are each their own gateway's."""
    it = Supervised(names=("dead", "well"))
    it.gateways["dead"].answer = raising(NotSentError("refused"))
    it.submit(*[work("dead") for _ in range(10)])
    for _ in range(FAILURES):
        it.slots["dead"].end()
        it.run()
    it.submit(work("well"))
    assert len(it.slots["well"].out) == 1


def test_no_call_goes_out_while_the_breaker_is_open(it: Supervised) -> None:
    """Work that comes while the breaker is open waits, without a call and without using up an attempt."""
    trip(it)
    calls = len(it.gateway.calls)
    it.submit(*[work() for _ in range(5)])
    it.run(SLEEP_S - 0.5)
    assert len(it.gateway.calls) == calls
    assert len(it.results()) == FAILURES
    assert not it.out


def test_one_probe_goes_out_half_open_and_the_rest_after_it(it: Supervised) -> None:
    """After the sleep one call goes out by itself; when it succeeds the others follow, few at first."""
    trip(it)
    it.gateway.answer = it.gateway.accept
    it.submit(*[work() for _ in range(5)])
    it.run(SLEEP_S + 0.5)
    assert len(it.out) == 1
    it.submit(work())
    assert len(it.out) == 1
    it.end()
    assert len(it.out) == SLOW_START_FIRST
    it.end()
    it.end()
    assert len(it.out) == 3
    it.end_all()
    assert len(it.gateway.effects) == 6


def test_a_probe_that_fails_keeps_the_rest_waiting(it: Supervised) -> None:
    """A failed probe costs one attempt of one piece of work; the next probe goes out after another sleep."""
    trip(it)
    it.submit(*[work() for _ in range(5)])
    for _ in range(3):
        it.run(SLEEP_S + 0.5)
        assert len(it.out) == 1
        it.end()
        assert not it.out
    assert len(it.results()) == FAILURES + 3


def test_late_results_are_ignored_by_the_breaker_and_not_by_the_transaction(it: Supervised) -> None:
    """What a call of before the trip says later does not close the breaker, and does reach its customer."""
    it.submit(work(), work(), work())
    it.gateway.answer = raising(OutcomeUnknownError("timeout"))
    it.end()
    it.submit(work())
    it.end()
    it.submit(work())
    it.end()
    assert it.bulkheads[GATEWAY].breaker.state == "open"
    it.gateway.answer = it.gateway.accept
    it.end_all()
    assert it.bulkheads[GATEWAY].breaker.state == "open"
    assert [type(result) for result in it.results()] == [Unknown] * 3 + [Approved] * 2
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_a_decline_is_a_healthy_answer(it: Supervised) -> None:
    """However many declines in a row, the breaker stays closed."""
    declined = Declined("do_not_honor", Category.HARD, "no")
    it.gateway.answer = lambda _: declined
    for _ in range(3 * FAILURES):
        it.submit(work())
        it.end()
    assert it.results() == [declined] * 3 * FAILURES
    assert it.bulkheads[GATEWAY].breaker.state == "closed"


@pytest.mark.parametrize("error", [NotSentError("refused"), OutcomeUnknownError("timeout"), ValueError(), SystemExit()])
def test_a_failure_counts_frees_its_slot_and_is_told(it: Supervised, error: BaseException) -> None:
    """Whatever an adapter raises, a kill included: the customer hears, the slot is free, and the breaker counts it."""
    it.gateway.answer = raising(error)
    for _ in range(FAILURES):
        it.submit(work())
        it.end()
    assert [type(result) for result in it.results()] == [NotSent if isinstance(error, NotSentError) else Unknown] * 3
    assert it.bulkheads[GATEWAY].in_flight == 0
    assert it.bulkheads[GATEWAY].breaker.state == "open"


def test_a_listener_that_fails_loses_no_outcome(it: Supervised) -> None:
    """The customer hears of the outcome, and the slot is free, though whoever listens in raises."""

    def called(*_: object) -> None:
        raise ValueError("a payload that cannot be read")

    it.heard.called = called  # type: ignore[method-assign, assignment]
    it.submit(work())
    try:
        it.end()
    except ValueError:
        it.run()
    assert len(it.results()) == 1
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_the_outcome_is_with_its_customer_before_the_slot_is_free(it: Supervised) -> None:
    """No call out means that every outcome is told: a stopping process relies on it when it gives leases back."""
    supervisor = it.address._router.start(None)
    free_before: list[bool] = []

    def tell(_: object) -> None:
        free_before.append(not supervisor.actor_inbox.empty())

    it.customer.tell = tell  # type: ignore[method-assign]
    it.submit(work())
    it.end()
    assert free_before == [False]
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_lookups_ask_and_never_send(it: Supervised) -> None:
    """Work to resolve is a lookup."""
    item = work(action=Action.RESOLVE)
    it.submit(item)
    it.end()
    assert it.results() == [NotReceived()]
    assert it.gateway.lookups == [item.work_id]
    assert it.gateway.calls == []


def test_work_that_nobody_can_do_is_told_without_a_call(it: Supervised) -> None:
    """What names no transaction, or an event that nothing handles, goes back at once, and is no failure."""
    it.submit(replace(work(), transaction=None), replace(work(), event_type="DepositEaten"))
    assert [type(result) for result in it.results()] == [Unhandled] * 2
    assert (it.out, it.gateway.calls, it.status()[0].breaker.requests) == ([], [], 0)


def test_the_intake_closes_and_opens_with_what_waits(it: Supervised) -> None:
    """New work is left in the store once much waits, and taken again when little does."""
    it.submit(*[work() for _ in range(BACKPRESSURE_ON_AT + 2)])
    assert it.backpressure.open[GATEWAY]
    it.submit(work())
    assert not it.backpressure.open[GATEWAY]
    while it.status()[0].bulkhead.waiting > BACKPRESSURE_OFF_AT:
        assert not it.backpressure.open[GATEWAY]
        it.end()
    assert it.backpressure.open[GATEWAY]


def test_room_is_said_once_for_each_claimed_batch_when_there_is_some(it: Supervised) -> None:
    """The dead letters hear of room after each batch of theirs, and only when little waits."""
    it.submit(*[work() for _ in range(BACKPRESSURE_OFF_AT + 10)])
    assert it.scheduler.of(CapacityFree) == []
    it.submit(work(), claimed=True)
    assert it.scheduler.of(CapacityFree) == []
    it.end_all()
    assert it.scheduler.of(CapacityFree) == [CapacityFree(GATEWAY)]
    it.submit(work(), claimed=True)
    assert it.scheduler.of(CapacityFree) == [CapacityFree(GATEWAY)] * 2


def test_a_drain_sends_nothing_more(it: Supervised) -> None:
    """After the drain no call begins, the calls that are out end and are told, and new work stays queued."""
    it.submit(*[work() for _ in range(10)])
    it.address.tell(Drain())
    it.run()
    it.submit(work())
    it.end_all()
    it.run(60.0)
    assert len(it.gateway.calls) == 3
    assert len(it.results()) == 3
    assert it.backpressure.open == {GATEWAY: False}
    assert it.backpressure.draining


def test_operators_see_slots_and_breaker() -> None:
    """The status names every gateway, ascending, with what is out, what waits, and its breaker."""
    it = Supervised(names=("b", "a"))
    it.submit(*[work("b") for _ in range(5)])
    a, b = it.status()
    assert (a.name, b.name) == ("a", "b")
    assert (b.bulkhead.in_flight, b.bulkhead.waiting, b.bulkhead.max_concurrent) == (3, 2, 3)
    assert (a.bulkhead.in_flight, a.bulkhead.waiting, a.breaker.state) == (0, 0, "closed")
