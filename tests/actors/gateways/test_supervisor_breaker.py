"""The supervisor and its breakers: the work that they delay, recoveries, and the state that processes share."""

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
    """Another process changes the breaker, or takes the probe (half_open), and this process reads it."""
    record = supervised.shared.now()
    if state == "half_open":
        record.take(record.epoch, "another", sleep_s=0.0, permit_s=PERMIT_S)
    else:
        record.turn(record.epoch, state)
    supervised.shared.look()
    supervised.run()


def test_an_open_breaker_holds_back_no_other_gateway() -> None:
    """Each gateway has its own breaker."""
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
    """After the sleep one call is sent; when it succeeds the others follow, few at first."""
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
    """A late result of a call from before the trip does not close the breaker, and reaches its customer."""
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
    """A probe is one piece of work from its record on; when it is refused, another is the probe at once."""
    trip(keyless)
    keyless.submit(*[work() for _ in range(5)])
    keyless.run(SLEEP_S + 0.5)
    assert len(keyless.requested) == 1
    keyless.clear(keyless.requested[0], refused=True)
    assert len(keyless.requested) == 2
    assert keyless.bulkheads[GATEWAY].breaker.state == "half_open"
    keyless.clear(keyless.requested[1])
    keyless.end()
    assert keyless.bulkheads[GATEWAY].breaker.state == "closed"
    assert len(keyless.requested) == 2 + SLOW_START_FIRST


def test_after_a_recovery_few_are_recorded_at_once(keyless: Keyless) -> None:
    """Slow start limits submissions being recorded as well as calls, and all work is sent in the end."""
    trip(keyless)
    items = [work() for _ in range(40)]
    keyless.submit(*items)
    keyless.run(SLEEP_S + 0.5)
    keyless.clear(keyless.requested[0])
    keyless.end()
    assert keyless.slots_taken == SLOW_START_FIRST
    done = 1
    while done < len(keyless.requested):
        keyless.clear(keyless.requested[done])
        keyless.end()
        done += 1
        assert keyless.slots_taken <= 3
    assert set(keyless.gateway.effects) == {item.work_id for item in items}
    assert keyless.slots_taken == 0


def test_a_recovery_is_reported_once(keyless: Keyless) -> None:
    """It is reported when the breaker closes, by itself or by an operator, and not at each success."""
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
    """While an operator holds it open nothing is recorded; in auto again, it begins with one probe."""
    order_mode(keyless, "open")
    keyless.submit(*[work() for _ in range(5)])
    keyless.run(10 * SLEEP_S)
    assert keyless.requested == []
    order_mode(keyless, "auto")
    assert len(keyless.requested) == 1


def test_a_failing_gateway_opens_its_breaker_by_its_calls_alone(keyless: Keyless) -> None:
    """Submissions that were refused or not tried are no sign of the gateway's health; failed calls are."""
    for _ in range(2 * FAILURES):
        keyless.submit(work())
        keyless.clear(keyless.requested[-1], refused=True)
    assert keyless.status()[0].breaker.requests == 0
    keyless.gateway.answer = raising(NotSentError("refused"))
    for _ in range(FAILURES):
        keyless.submit(work())
        keyless.clear(keyless.requested[-1])
        keyless.end()
    assert keyless.bulkheads[GATEWAY].breaker.state == "open"


def test_a_transition_is_recorded_once(supervised: Supervised) -> None:
    """One answer is enough, and transitions of other processes are not sent back."""
    trip(supervised)
    supervised.run(SLEEP_S / 2)
    assert supervised.shared.reported == [BreakerTransition(GATEWAY, 0, "open")]
    another(supervised, "closed")
    another(supervised, "open")
    supervised.run(SLEEP_S / 2)
    assert supervised.shared.reported == [BreakerTransition(GATEWAY, 0, "open")]


def test_a_transition_is_repeated_until_it_is_recorded(supervised: Supervised) -> None:
    """The actor that records it may have died, or the store was unavailable; work does not wait for that."""
    supervised.shared.away = True
    trip(supervised)
    supervised.run(3 * RESEND_S + 0.5)
    assert supervised.shared.reported == [BreakerTransition(GATEWAY, 0, "open")] * 4
    supervised.shared.away = False
    supervised.run(10 * RESEND_S)
    assert len(supervised.shared.reported) == 5
    assert supervised.shared.now().state == "open"


def test_a_transition_is_repeated_by_a_successor(supervised: Supervised) -> None:
    """The breaker outlives the actor, with its pending transition."""
    tell, deaths = supervised.shared.tell, [True]

    def die_once(message: object, /) -> None:
        if deaths and deaths.pop():
            raise RuntimeError("a defect")
        tell(message)

    supervised.shared.tell = die_once  # type: ignore[method-assign]
    trip(supervised)
    supervised.run(2 * RESEND_S)
    assert supervised.address.deaths == 1
    assert supervised.shared.reported == [BreakerTransition(GATEWAY, 0, "open")]


def test_a_probe_is_requested_once_and_again_after_a_while(supervised: Supervised) -> None:
    """It is not requested before the sleep is over, nor while an answer may be under way."""
    trip(supervised)
    supervised.shared.reported.clear()
    supervised.shared.away = True
    supervised.submit(*[work() for _ in range(5)])
    supervised.run(SLEEP_S - 0.5)
    assert supervised.shared.reported == []
    supervised.run(0.6)
    supervised.submit(*[work() for _ in range(5)])
    assert supervised.shared.reported == [ProbeWanted(GATEWAY, 1)]
    supervised.run(RESEND_S)
    assert supervised.shared.reported == [ProbeWanted(GATEWAY, 1)] * 2
    assert not supervised.out
    supervised.shared.away = False
    supervised.run(RESEND_S)
    assert len(supervised.out) == 1


def test_a_process_without_work_requests_no_probe(supervised: Supervised) -> None:
    """A process without work leaves the probe to others; new work requests it at once."""
    trip(supervised)
    supervised.run(10 * SLEEP_S)
    assert supervised.shared.reported == [BreakerTransition(GATEWAY, 0, "open")]
    supervised.submit(work())
    assert len(supervised.out) == 1


def test_a_stopping_process_requests_no_probe_and_records_its_last_one(supervised: Supervised) -> None:
    """It would not use a probe, but the answer to its last one is useful to other processes."""
    trip(supervised)
    supervised.submit(*[work() for _ in range(3)])
    supervised.run(SLEEP_S + 0.5)
    supervised.address.tell(Drain())
    supervised.run()
    supervised.end()
    assert supervised.shared.reported[-1] == BreakerTransition(GATEWAY, 2, "closed")
    assert supervised.shared.now().state == "closed"
    another(supervised, "open")
    supervised.run(10 * SLEEP_S)
    assert supervised.shared.reported[-1] == BreakerTransition(GATEWAY, 2, "closed")
    assert not supervised.out


def test_another_process_has_the_probe(supervised: Supervised) -> None:
    """Nothing is sent here meanwhile; a sleep after its permit expired without a result, this process requests it."""
    trip(supervised)
    another(supervised, "half_open")
    supervised.submit(*[work() for _ in range(3)])
    supervised.run(PERMIT_S + SLEEP_S - 0.5)
    assert not supervised.out
    assert supervised.shared.reported == [BreakerTransition(GATEWAY, 0, "open")]
    supervised.run(1.0)
    assert supervised.shared.reported[-1] == ProbeWanted(GATEWAY, 2)
    assert len(supervised.out) == 1


def test_a_breaker_that_another_process_opens_is_open_here(supervised: Supervised) -> None:
    """Running calls end without effect on the breaker, and no waiting work is lost."""
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
    """This process was paused after its request: the permit counts from then, and another one may have the probe."""
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
    """The process was paused between permit and call: another one may be probing already."""
    trip(supervised)
    item = work()
    supervised.submit(item)
    supervised.run(SLEEP_S + 0.5)
    calls, reported = len(supervised.gateway.calls), len(supervised.results())
    supervised.runtime.advance(
        supervised.bulkheads[GATEWAY].breaker._probe_until + late_s - supervised.runtime.monotonic()
    )
    supervised.end()
    if late_s < 0:
        assert len(supervised.gateway.calls) == calls + 1
        assert supervised.bulkheads[GATEWAY].breaker.state == "closed"
    else:
        assert len(supervised.gateway.calls) == calls
        assert [type(result) for result in supervised.results()[reported:]] == [NotTried]
        assert supervised.bulkheads[GATEWAY].breaker.state == "open"
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_a_success_that_comes_too_late_closes_nothing(supervised: Supervised) -> None:
    """The prober was paused during its call; meanwhile another process found the gateway broken."""
    trip(supervised)
    supervised.submit(work())
    supervised.run(SLEEP_S + 0.5)
    reported = len(supervised.shared.reported)

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
    assert not [message for message in supervised.shared.reported[reported:] if isinstance(message, BreakerTransition)]
