"""The supervisor and gateways that were down, are held open or cannot be asked; poison holds up nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.gateways.slow_start import SLOW_START_FIRST
from actors.messages import (
    OutcomeReport,
    Recovered,
    Unhandled,
)
from domain.outcomes import NotSentError, Outcome, Unknown
from gateways.port import Order
from store.port import Action, DeliveryCertainty, WorkItem
from tests.actors.bulkheads import FAILURES, SLEEP_S, Keyless, Supervised, order_mode, raising, trip, work
from tests.actors.support import GATEWAY


@pytest.fixture
def it() -> Keyless:
    """A supervisor of one gateway with three slots."""
    return Keyless()


def test_one_submission_is_recorded_half_open(it: Keyless) -> None:
    """A probe is one piece of work from its record on; given back, it lets another be the probe at once."""
    trip(it)
    it.submit(*[work() for _ in range(5)])
    it.run(SLEEP_S + 0.5)
    assert len(it.asked) == 1
    it.clear(it.asked[0], refused=True)
    assert len(it.asked) == 2
    assert it.bulkheads[GATEWAY].breaker.state == "half_open"
    it.clear(it.asked[1])
    it.end()
    assert it.bulkheads[GATEWAY].breaker.state == "closed"
    assert len(it.asked) == 2 + SLOW_START_FIRST


def test_after_a_recovery_few_are_recorded_at_once(it: Keyless) -> None:
    """The ramp holds for what is being recorded as for what is called, and everything goes out in the end."""
    trip(it)
    items = [work() for _ in range(40)]
    it.submit(*items)
    it.run(SLEEP_S + 0.5)
    it.clear(it.asked[0])
    it.end()
    assert it.slots_taken == SLOW_START_FIRST
    done = 1
    while done < len(it.asked):
        it.clear(it.asked[done])
        it.end()
        done += 1
        assert it.slots_taken <= 3
    assert set(it.gateway.effects) == {item.work_id for item in items}
    assert it.slots_taken == 0


def test_a_recovery_is_told_once(it: Keyless) -> None:
    """Lookups are pulled forward when the breaker closes, by itself or by a person, and not at each success."""
    trip(it)
    assert it.scheduler.of(Recovered) == []
    it.submit(*[work() for _ in range(6)])
    it.run(SLEEP_S + 0.5)
    it.clear_all()
    assert it.scheduler.of(Recovered) == [Recovered(GATEWAY)]
    order_mode(it, "closed")
    assert len(it.scheduler.of(Recovered)) == 1
    order_mode(it, "open")
    order_mode(it, "closed")
    assert len(it.scheduler.of(Recovered)) == 2


def test_forced_open_sends_nothing_and_auto_begins_with_a_probe(it: Keyless) -> None:
    """While a person holds it open nothing is even recorded; left to itself again one goes out first."""
    order_mode(it, "open")
    it.submit(*[work() for _ in range(5)])
    it.run(10 * SLEEP_S)
    assert it.asked == []
    order_mode(it, "auto")
    assert len(it.asked) == 1


@pytest.mark.parametrize("breaker", ["closed", "open"])
@pytest.mark.parametrize(
    ("item", "result"),
    [
        (replace(work(), certainty=DeliveryCertainty.SENT), Unknown),
        (replace(work(), event_type="DepositEaten"), Unhandled),
        (replace(work(), transaction=None), Unhandled),
        (replace(work(action=Action.RESOLVE), transaction=None), Unhandled),
    ],
)
def test_what_is_not_to_be_called_takes_no_slot_and_no_permit(
    it: Keyless, item: WorkItem, result: type, breaker: str
) -> None:
    """Work that cannot be called for is told at once, whatever the breaker says, and records no sending."""
    if breaker == "open":
        trip(it)
        it.customer.messages.clear()
    it.submit(item)
    assert [type(told) for told in it.results()] == [result]
    assert (it.asked, it.out, it.slots_taken) == ([], [], 0)
    assert it.bulkheads[GATEWAY].breaker.state == breaker


def test_a_gateway_that_cannot_be_asked_is_not_asked(it: Keyless) -> None:
    """A lookup at such a gateway is an unknown outcome without a call, be the breaker open or not."""
    it.gateway.looks_up = False
    order_mode(it, "open")
    it.submit(*[work(action=Action.RESOLVE) for _ in range(5)])
    assert [type(told) for told in it.results()] == [Unknown] * 5
    assert it.gateway.lookups == []


def test_poison_holds_up_nobody(it: Keyless) -> None:
    """Between good work, what nobody can do is put aside and all else goes its way."""
    good = [work() for _ in range(9)]
    poison = [replace(work(), event_type="x"), replace(work(), transaction=None), replace(work(), event_type="")]
    it.submit(*[item for three in zip(good[::3], poison, good[1::3], good[2::3], strict=True) for item in three])
    it.clear_all()
    assert set(it.gateway.effects) == {item.work_id for item in good}
    reported = {report.item.work_id: type(report.result) for report in it.customer.of(OutcomeReport)}
    assert {key for key, result in reported.items() if result is Unhandled} == {item.work_id for item in poison}
    assert it.slots_taken == 0


def test_a_failing_gateway_opens_its_breaker_by_its_calls_alone(it: Keyless) -> None:
    """Submissions that were given up, or not tried, say nothing of the gateway's health; failed calls do."""
    for _ in range(2 * FAILURES):
        it.submit(work())
        it.clear(it.asked[-1], refused=True)
    assert it.status()[0].breaker.requests == 0
    it.gateway.answer = raising(NotSentError("refused"))
    for _ in range(FAILURES):
        it.submit(work())
        it.clear(it.asked[-1])
        it.end()
    assert it.bulkheads[GATEWAY].breaker.state == "open"


def test_a_report_is_as_old_as_its_question() -> None:
    """Whatever time a call takes: what it says is of when it began, and that decides whether "never" counts."""
    it = Supervised()
    asked_at = it.runtime.monotonic()
    answer = it.gateway.answer

    def slowly(order: Order) -> Outcome:
        it.runtime.advance(30.0)
        return answer(order)

    it.gateway.answer = slowly
    it.submit(work())
    it.end()
    [report] = it.customer.of(OutcomeReport)
    assert report.asked_at == asked_at
