"""The supervisor and the breakers that all processes share: what is told and asked, again and again, and obeyed."""

from __future__ import annotations

import pytest

from actors.gateways.breaker import AGAIN_S
from actors.gateways.slow_start import SLOW_START_FIRST
from actors.messages import BreakerRecordRead, BreakerTransition, ClaimDue, Drain, NotTried, ProbeWanted, Recovered
from domain.outcomes import Outcome
from gateways.port import Order
from store.port import Action
from tests.actors.bulkheads import FAILURES, PERMIT_S, SLEEP_S, Supervised, raising, work
from tests.actors.support import GATEWAY, OWNER


@pytest.fixture
def it() -> Supervised:
    """A supervisor of one gateway with three slots."""
    return Supervised()


def fail(it: Supervised) -> None:
    """As many failures as it takes, all at once."""
    lookup, it.gateway.lookup = it.gateway.lookup, raising(OSError())  # type: ignore[method-assign]
    it.submit(*[work(action=Action.RESOLVE) for _ in range(FAILURES)])
    it.end_all()
    it.gateway.lookup = lookup  # type: ignore[method-assign]
    assert it.bulkheads[GATEWAY].breaker.state == "open"


def another(it: Supervised, state: str) -> None:
    """Another process turns the breaker, or (half_open) takes the probe, and that is seen here."""
    record = it.shared.now()
    if state == "half_open":
        record.take(record.epoch, "another", sleep_s=0.0, permit_s=PERMIT_S)
    else:
        record.turn(record.epoch, state)
    it.shared.look()
    it.run()


def test_what_the_breaker_came_to_is_told_once(it: Supervised) -> None:
    """The answer is enough; nothing is told of what others came to."""
    fail(it)
    it.run(SLEEP_S / 2)
    assert it.shared.told == [BreakerTransition(GATEWAY, 0, "open")]
    another(it, "closed")
    another(it, "open")
    it.run(SLEEP_S / 2)
    assert it.shared.told == [BreakerTransition(GATEWAY, 0, "open")]


def test_it_is_told_again_until_the_record_says_so(it: Supervised) -> None:
    """Whoever was to store it may have died with it, or the store was away; no work need wait for that."""
    it.shared.away = True
    fail(it)
    it.run(3 * AGAIN_S + 0.5)
    assert it.shared.told == [BreakerTransition(GATEWAY, 0, "open")] * 4
    it.shared.away = False
    it.run(10 * AGAIN_S)
    assert len(it.shared.told) == 5
    assert it.shared.now().state == "open"


def test_it_is_told_again_by_the_successor_of_an_actor_that_died_over_it(it: Supervised) -> None:
    """The breaker outlives the actor, and knows what is still to be told."""
    tell, deaths = it.shared.tell, [True]

    def die_once(message: object, /) -> None:
        if deaths and deaths.pop():
            raise RuntimeError("a defect")
        tell(message)

    it.shared.tell = die_once  # type: ignore[method-assign]
    fail(it)
    it.run(2 * AGAIN_S)
    assert it.address.deaths == 1
    assert it.shared.told == [BreakerTransition(GATEWAY, 0, "open")]


def test_a_probe_is_asked_for_once_and_again_after_a_while(it: Supervised) -> None:
    """Never before the sleep is over, and never beside an answer that may be under way."""
    fail(it)
    it.shared.told.clear()
    it.shared.away = True
    it.submit(*[work() for _ in range(5)])
    it.run(SLEEP_S - 0.5)
    assert it.shared.told == []
    it.run(0.6)
    it.submit(*[work() for _ in range(5)])
    assert it.shared.told == [ProbeWanted(GATEWAY, 1)]
    it.run(AGAIN_S)
    assert it.shared.told == [ProbeWanted(GATEWAY, 1)] * 2
    assert not it.out
    it.shared.away = False
    it.run(AGAIN_S)
    assert len(it.out) == 1


def test_nobody_asks_for_a_probe_without_work_for_it(it: Supervised) -> None:
    """A process that has nothing to send leaves it to those that have; work that comes asks at once."""
    fail(it)
    it.run(10 * SLEEP_S)
    assert it.shared.told == [BreakerTransition(GATEWAY, 0, "open")]
    it.submit(work())
    assert len(it.out) == 1


def test_a_process_that_stops_asks_for_no_probe_and_tells_what_its_last_one_came_to(it: Supervised) -> None:
    """It would not use it; but what the provider answered is of use to the others."""
    fail(it)
    it.submit(*[work() for _ in range(3)])
    it.run(SLEEP_S + 0.5)
    it.address.tell(Drain())
    it.run()
    it.end()
    assert it.shared.told[-1] == BreakerTransition(GATEWAY, 2, "closed")
    assert it.shared.now().state == "closed"
    another(it, "open")
    it.run(10 * SLEEP_S)
    assert it.shared.told[-1] == BreakerTransition(GATEWAY, 2, "closed")
    assert not it.out


def test_another_process_has_the_probe(it: Supervised) -> None:
    """Nothing goes out here meanwhile; a sleep after its permit has expired without a word this one asks."""
    fail(it)
    another(it, "half_open")
    it.submit(*[work() for _ in range(3)])
    it.run(PERMIT_S + SLEEP_S - 0.5)
    assert not it.out
    assert it.shared.told == [BreakerTransition(GATEWAY, 0, "open")]
    it.run(1.0)
    assert it.shared.told[-1] == ProbeWanted(GATEWAY, 2)
    assert len(it.out) == 1


def test_what_another_process_opens_is_open_here(it: Supervised) -> None:
    """What is out already comes back and says nothing more of the breaker; the work of before is not lost."""
    it.submit(*[work() for _ in range(5)])
    another(it, "open")
    assert (it.heard.breakers, len(it.out)) == ([(GATEWAY, "open")], 3)
    it.end_all()
    assert len(it.gateway.calls) == 3
    assert it.bulkheads[GATEWAY].breaker.state == "open"
    assert it.scheduler.of(ClaimDue) == [ClaimDue(GATEWAY)]
    another(it, "closed")
    assert len(it.out) == SLOW_START_FIRST
    assert it.scheduler.of(Recovered) == [Recovered(GATEWAY)]
    it.end_all()
    assert len(it.gateway.effects) == 5


def test_a_probe_that_was_given_too_late_is_no_probe(it: Supervised) -> None:
    """This process stood still after it had asked: its permit counts from then, and another one may have it by now."""
    fail(it)
    it.shared.away = True
    it.submit(work())
    it.run(SLEEP_S + 0.5)
    record, asked_at = it.shared.now(), it.runtime.monotonic()
    granted = BreakerRecordRead(record.take(1, OWNER, sleep_s=SLEEP_S, permit_s=PERMIT_S), asked_at)
    it.runtime.advance(PERMIT_S)
    it.address.tell(granted)
    it.run()
    assert not it.out
    assert it.bulkheads[GATEWAY].breaker.state == "open"


@pytest.mark.parametrize("late_s", [-0.5, 0.0, 100.0])
def test_no_call_begins_after_its_permit_has_expired(it: Supervised, late_s: float) -> None:
    """The process stood still between the permit and the call: somebody else may be probing by now."""
    fail(it)
    item = work()
    it.submit(item)
    it.run(SLEEP_S + 0.5)
    calls, told = len(it.gateway.calls), len(it.results())
    it.runtime.advance(it.bulkheads[GATEWAY].breaker._probe_until + late_s - it.runtime.monotonic())
    it.end()
    if late_s < 0:
        assert len(it.gateway.calls) == calls + 1
        assert it.bulkheads[GATEWAY].breaker.state == "closed"
    else:
        assert len(it.gateway.calls) == calls
        assert [type(result) for result in it.results()[told:]] == [NotTried]
        assert it.bulkheads[GATEWAY].breaker.state == "open"
    assert it.bulkheads[GATEWAY].in_flight == 0


def test_a_success_that_comes_too_late_closes_nothing(it: Supervised) -> None:
    """The prober stood still during its call; meanwhile another one found the gateway broken."""
    fail(it)
    it.submit(work())
    it.run(SLEEP_S + 0.5)
    told = len(it.shared.told)

    def slowly(order: Order) -> Outcome:
        it.runtime.advance(PERMIT_S + SLEEP_S)
        record = it.shared.now()
        record.take(record.epoch, "another", sleep_s=SLEEP_S, permit_s=PERMIT_S)
        record.turn(record.epoch, "open")
        return it.gateway.accept(order)

    it.gateway.answer = slowly
    it.end()
    assert len(it.gateway.effects) == 1
    assert it.bulkheads[GATEWAY].breaker.state == "open"
    assert it.shared.now().state == "open"
    assert not [message for message in it.shared.told[told:] if isinstance(message, BreakerTransition)]
