"""The supervisor and its breakers: what they hold back, how a gateway comes back, what processes share."""

from __future__ import annotations

import pytest

from actors.gateways.breaker import RESEND_S
from actors.gateways.slow_start import SLOW_START_FIRST
from actors.messages import BreakerRecordRead, BreakerTransition, ClaimDue, Drain, NotTried, ProbeWanted, Recovered
from domain.outcomes import (
    Approved,
    Category,
    Declined,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    Unknown,
)
from gateways.port import Order
from tests.actors.gateways.fixtures import (
    FAILURES,
    PERMIT_S,
    SLEEP_S,
    Keyless,
    Supervised,
    order_mode,
    raising,
    trip,
    trip_by_submissions,
    work,
)
from tests.actors.support import GATEWAY, OWNER


def another(supervised: Supervised, state: str) -> None:
    """Another process turns the breaker, or (half_open) takes the probe, and that is seen here."""
    record = supervised.shared.now()
    if state == "half_open":
        record.take(record.epoch, "another", sleep_s=0.0, permit_s=PERMIT_S)
    else:
        record.turn(record.epoch, state)
    supervised.shared.look()
    supervised.run()


def test_one_gateways_open_breaker_keeps_no_other_back() -> None:
    """Breakers are each their own gateway's."""
    supervised = Supervised(names=("dead", "well"))
    supervised.gateways["dead"].answer = raising(NotSentError("refused"))
    supervised.submit(*[work("dead") for _ in range(10)])
    for _ in range(FAILURES):
        supervised.slots["dead"].end()
        supervised.run()
    supervised.submit(work("well"))
    assert len(supervised.slots["well"].out) == 1


def test_no_call_goes_out_while_the_breaker_is_open(supervised: Supervised) -> None:
    """Work that comes while the breaker is open waits, without a call and without using up an attempt."""
    trip_by_submissions(supervised)
    calls = len(supervised.gateway.calls)
    supervised.submit(*[work() for _ in range(5)])
    supervised.run(SLEEP_S - 0.5)
    assert len(supervised.gateway.calls) == calls
    assert len(supervised.results()) == FAILURES
    assert not supervised.out


def test_one_probe_goes_out_half_open_and_the_rest_after_it(supervised: Supervised) -> None:
    """After the sleep one call goes out by itself; when it succeeds the others follow, few at first."""
    trip_by_submissions(supervised)
    supervised.gateway.answer = supervised.gateway.accept
    supervised.submit(*[work() for _ in range(5)])
    supervised.run(SLEEP_S + 0.5)
    assert len(supervised.out) == 1
    supervised.submit(work())
    assert len(supervised.out) == 1
    supervised.end()
    assert len(supervised.out) == SLOW_START_FIRST
    supervised.end()
    supervised.end()
    assert len(supervised.out) == 3
    supervised.end_all()
    assert len(supervised.gateway.effects) == 6


def test_a_probe_that_fails_keeps_the_rest_waiting(supervised: Supervised) -> None:
    """A failed probe costs one attempt of one piece of work; the next probe goes out after another sleep."""
    trip_by_submissions(supervised)
    supervised.submit(*[work() for _ in range(5)])
    for _ in range(3):
        supervised.run(SLEEP_S + 0.5)
        assert len(supervised.out) == 1
        supervised.end()
        assert not supervised.out
    assert len(supervised.results()) == FAILURES + 3


def test_late_results_are_ignored_by_the_breaker_and_not_by_the_transaction(supervised: Supervised) -> None:
    """What a call of before the trip says later does not close the breaker, and does reach its customer."""
    supervised.submit(work(), work(), work())
    supervised.gateway.answer = raising(OutcomeUnknownError("timeout"))
    supervised.end()
    supervised.submit(work())
    supervised.end()
    supervised.submit(work())
    supervised.end()
    assert supervised.bulkheads[GATEWAY].breaker.state == "open"
    supervised.gateway.answer = supervised.gateway.accept
    supervised.end_all()
    assert supervised.bulkheads[GATEWAY].breaker.state == "open"
    assert [type(result) for result in supervised.results()] == [Unknown] * 3 + [Approved] * 2
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_a_decline_is_a_healthy_answer(supervised: Supervised) -> None:
    """However many declines in a row, the breaker stays closed."""
    declined = Declined("do_not_honor", Category.HARD, "no")
    supervised.gateway.answer = lambda _: declined
    for _ in range(3 * FAILURES):
        supervised.submit(work())
        supervised.end()
    assert supervised.results() == [declined] * 3 * FAILURES
    assert supervised.bulkheads[GATEWAY].breaker.state == "closed"


def test_one_submission_is_recorded_half_open(keyless: Keyless) -> None:
    """A probe is one piece of work from its record on; given back, it lets another be the probe at once."""
    trip(keyless)
    keyless.submit(*[work() for _ in range(5)])
    keyless.run(SLEEP_S + 0.5)
    assert len(keyless.asked) == 1
    keyless.clear(keyless.asked[0], refused=True)
    assert len(keyless.asked) == 2
    assert keyless.bulkheads[GATEWAY].breaker.state == "half_open"
    keyless.clear(keyless.asked[1])
    keyless.end()
    assert keyless.bulkheads[GATEWAY].breaker.state == "closed"
    assert len(keyless.asked) == 2 + SLOW_START_FIRST


def test_after_a_recovery_few_are_recorded_at_once(keyless: Keyless) -> None:
    """The ramp holds for what is being recorded as for what is called, and everything goes out in the end."""
    trip(keyless)
    items = [work() for _ in range(40)]
    keyless.submit(*items)
    keyless.run(SLEEP_S + 0.5)
    keyless.clear(keyless.asked[0])
    keyless.end()
    assert keyless.slots_taken == SLOW_START_FIRST
    done = 1
    while done < len(keyless.asked):
        keyless.clear(keyless.asked[done])
        keyless.end()
        done += 1
        assert keyless.slots_taken <= 3
    assert set(keyless.gateway.effects) == {item.work_id for item in items}
    assert keyless.slots_taken == 0


def test_a_recovery_is_told_once(keyless: Keyless) -> None:
    """Lookups are pulled forward when the breaker closes, by itself or by a person, and not at each success."""
    trip(keyless)
    assert keyless.scheduler.of(Recovered) == []
    keyless.submit(*[work() for _ in range(6)])
    keyless.run(SLEEP_S + 0.5)
    keyless.clear_all()
    assert keyless.scheduler.of(Recovered) == [Recovered(GATEWAY)]
    order_mode(keyless, "closed")
    assert len(keyless.scheduler.of(Recovered)) == 1
    order_mode(keyless, "open")
    order_mode(keyless, "closed")
    assert len(keyless.scheduler.of(Recovered)) == 2


def test_forced_open_sends_nothing_and_auto_begins_with_a_probe(keyless: Keyless) -> None:
    """While a person holds it open nothing is even recorded; left to itself again one goes out first."""
    order_mode(keyless, "open")
    keyless.submit(*[work() for _ in range(5)])
    keyless.run(10 * SLEEP_S)
    assert keyless.asked == []
    order_mode(keyless, "auto")
    assert len(keyless.asked) == 1


def test_a_failing_gateway_opens_its_breaker_by_its_calls_alone(keyless: Keyless) -> None:
    """Submissions that were given up, or not tried, say nothing of the gateway's health; failed calls do."""
    for _ in range(2 * FAILURES):
        keyless.submit(work())
        keyless.clear(keyless.asked[-1], refused=True)
    assert keyless.status()[0].breaker.requests == 0
    keyless.gateway.answer = raising(NotSentError("refused"))
    for _ in range(FAILURES):
        keyless.submit(work())
        keyless.clear(keyless.asked[-1])
        keyless.end()
    assert keyless.bulkheads[GATEWAY].breaker.state == "open"


def test_what_the_breaker_came_to_is_told_once(supervised: Supervised) -> None:
    """The answer is enough; nothing is told of what others came to."""
    trip(supervised)
    supervised.run(SLEEP_S / 2)
    assert supervised.shared.told == [BreakerTransition(GATEWAY, 0, "open")]
    another(supervised, "closed")
    another(supervised, "open")
    supervised.run(SLEEP_S / 2)
    assert supervised.shared.told == [BreakerTransition(GATEWAY, 0, "open")]


def test_it_is_told_again_until_the_record_says_so(supervised: Supervised) -> None:
    """Whoever was to store it may have died with it, or the store was away; no work need wait for that."""
    supervised.shared.away = True
    trip(supervised)
    supervised.run(3 * RESEND_S + 0.5)
    assert supervised.shared.told == [BreakerTransition(GATEWAY, 0, "open")] * 4
    supervised.shared.away = False
    supervised.run(10 * RESEND_S)
    assert len(supervised.shared.told) == 5
    assert supervised.shared.now().state == "open"


def test_it_is_told_again_by_the_successor_of_an_actor_that_died_over_it(supervised: Supervised) -> None:
    """The breaker outlives the actor, and knows what is still to be told."""
    tell, deaths = supervised.shared.tell, [True]

    def die_once(message: object, /) -> None:
        if deaths and deaths.pop():
            raise RuntimeError("a defect")
        tell(message)

    supervised.shared.tell = die_once  # type: ignore[method-assign]
    trip(supervised)
    supervised.run(2 * RESEND_S)
    assert supervised.address.deaths == 1
    assert supervised.shared.told == [BreakerTransition(GATEWAY, 0, "open")]


def test_a_probe_is_asked_for_once_and_again_after_a_while(supervised: Supervised) -> None:
    """Never before the sleep is over, and never beside an answer that may be under way."""
    trip(supervised)
    supervised.shared.told.clear()
    supervised.shared.away = True
    supervised.submit(*[work() for _ in range(5)])
    supervised.run(SLEEP_S - 0.5)
    assert supervised.shared.told == []
    supervised.run(0.6)
    supervised.submit(*[work() for _ in range(5)])
    assert supervised.shared.told == [ProbeWanted(GATEWAY, 1)]
    supervised.run(RESEND_S)
    assert supervised.shared.told == [ProbeWanted(GATEWAY, 1)] * 2
    assert not supervised.out
    supervised.shared.away = False
    supervised.run(RESEND_S)
    assert len(supervised.out) == 1


def test_nobody_asks_for_a_probe_without_work_for_it(supervised: Supervised) -> None:
    """A process that has nothing to send leaves it to those that have; work that comes asks at once."""
    trip(supervised)
    supervised.run(10 * SLEEP_S)
    assert supervised.shared.told == [BreakerTransition(GATEWAY, 0, "open")]
    supervised.submit(work())
    assert len(supervised.out) == 1


def test_a_process_that_stops_asks_for_no_probe_and_tells_what_its_last_one_came_to(supervised: Supervised) -> None:
    """It would not use it; but what the provider answered is of use to the others."""
    trip(supervised)
    supervised.submit(*[work() for _ in range(3)])
    supervised.run(SLEEP_S + 0.5)
    supervised.address.tell(Drain())
    supervised.run()
    supervised.end()
    assert supervised.shared.told[-1] == BreakerTransition(GATEWAY, 2, "closed")
    assert supervised.shared.now().state == "closed"
    another(supervised, "open")
    supervised.run(10 * SLEEP_S)
    assert supervised.shared.told[-1] == BreakerTransition(GATEWAY, 2, "closed")
    assert not supervised.out


def test_another_process_has_the_probe(supervised: Supervised) -> None:
    """Nothing goes out here meanwhile; a sleep after its permit has expired without a word this one asks."""
    trip(supervised)
    another(supervised, "half_open")
    supervised.submit(*[work() for _ in range(3)])
    supervised.run(PERMIT_S + SLEEP_S - 0.5)
    assert not supervised.out
    assert supervised.shared.told == [BreakerTransition(GATEWAY, 0, "open")]
    supervised.run(1.0)
    assert supervised.shared.told[-1] == ProbeWanted(GATEWAY, 2)
    assert len(supervised.out) == 1


def test_what_another_process_opens_is_open_here(supervised: Supervised) -> None:
    """What is out already comes back and says nothing more of the breaker; the work of before is not lost."""
    supervised.submit(*[work() for _ in range(5)])
    another(supervised, "open")
    assert (supervised.heard.breakers, len(supervised.out)) == ([(GATEWAY, "open")], 3)
    supervised.end_all()
    assert len(supervised.gateway.calls) == 3
    assert supervised.bulkheads[GATEWAY].breaker.state == "open"
    assert supervised.scheduler.of(ClaimDue) == [ClaimDue(GATEWAY)]
    another(supervised, "closed")
    assert len(supervised.out) == SLOW_START_FIRST
    assert supervised.scheduler.of(Recovered) == [Recovered(GATEWAY)]
    supervised.end_all()
    assert len(supervised.gateway.effects) == 5


def test_a_probe_that_was_given_too_late_is_no_probe(supervised: Supervised) -> None:
    """This process stood still after it had asked: its permit counts from then, and another one may have it by now."""
    trip(supervised)
    supervised.shared.away = True
    supervised.submit(work())
    supervised.run(SLEEP_S + 0.5)
    record, asked_at = supervised.shared.now(), supervised.runtime.monotonic()
    granted = BreakerRecordRead(record.take(1, OWNER, sleep_s=SLEEP_S, permit_s=PERMIT_S), asked_at)
    supervised.runtime.advance(PERMIT_S)
    supervised.address.tell(granted)
    supervised.run()
    assert not supervised.out
    assert supervised.bulkheads[GATEWAY].breaker.state == "open"


@pytest.mark.parametrize("late_s", [-0.5, 0.0, 100.0])
def test_no_call_begins_after_its_permit_has_expired(supervised: Supervised, late_s: float) -> None:
    """The process stood still between the permit and the call: somebody else may be probing by now."""
    trip(supervised)
    item = work()
    supervised.submit(item)
    supervised.run(SLEEP_S + 0.5)
    calls, told = len(supervised.gateway.calls), len(supervised.results())
    supervised.runtime.advance(
        supervised.bulkheads[GATEWAY].breaker._probe_until + late_s - supervised.runtime.monotonic()
    )
    supervised.end()
    if late_s < 0:
        assert len(supervised.gateway.calls) == calls + 1
        assert supervised.bulkheads[GATEWAY].breaker.state == "closed"
    else:
        assert len(supervised.gateway.calls) == calls
        assert [type(result) for result in supervised.results()[told:]] == [NotTried]
        assert supervised.bulkheads[GATEWAY].breaker.state == "open"
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_a_success_that_comes_too_late_closes_nothing(supervised: Supervised) -> None:
    """The prober stood still during its call; meanwhile another one found the gateway broken."""
    trip(supervised)
    supervised.submit(work())
    supervised.run(SLEEP_S + 0.5)
    told = len(supervised.shared.told)

    def slowly(order: Order) -> Outcome:
        supervised.runtime.advance(PERMIT_S + SLEEP_S)
        record = supervised.shared.now()
        record.take(record.epoch, "another", sleep_s=SLEEP_S, permit_s=PERMIT_S)
        record.turn(record.epoch, "open")
        return supervised.gateway.accept(order)

    supervised.gateway.answer = slowly
    supervised.end()
    assert len(supervised.gateway.effects) == 1
    assert supervised.bulkheads[GATEWAY].breaker.state == "open"
    assert supervised.shared.now().state == "open"
    assert not [message for message in supervised.shared.told[told:] if isinstance(message, BreakerTransition)]
