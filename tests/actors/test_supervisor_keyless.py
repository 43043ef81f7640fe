"""The supervisor and gateways without keys: nothing goes out before its record, and every slot comes free again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.breaker import RAMP_FIRST, Permit
from actors.messages import (
    Cleared,
    Drain,
    NotTried,
    OutcomeReport,
    Recovered,
    SetMode,
    SubmissionRequest,
    Unhandled,
)
from domain.outcomes import Approved, NotSentError, Outcome, OutcomeUnknownError, Unknown
from gateways.port import Order
from store.port import Action, Doubt, GatewayMode, WorkItem
from tests.actors.lanes import FAILURES, PERMIT_S, SLEEP_S, Supervised, work
from tests.actors.support import GATEWAY


class Keyless(Supervised):
    """A supervisor of gateways without keys; the test says when a submission is on record."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for gateway in self.gateways.values():
            gateway.honours_keys, gateway.idempotency_window_s = False, 0.0

    @property
    def asked(self) -> list[SubmissionRequest]:
        """The submissions that customers were to write down, in order."""
        return self.customer.of(SubmissionRequest)

    def clear(self, request: SubmissionRequest, *, item: WorkItem | None = None, refused: bool = False) -> WorkItem:
        """Says that the submission is on record, or that nothing may go out."""
        after = replace(request.item, token=request.item.token + 1, doubt=Doubt.SENT) if item is None else item
        self.address.tell(Cleared(after.gateway, request.permit, None if refused else after))
        self.run()
        return after

    def clear_all(self) -> None:
        """Says so of all, one after the other, and lets the calls end, until nothing is asked any more."""
        done = 0
        while done < len(self.asked):
            self.clear(self.asked[done])
            done += 1
            self.end_all()

    @property
    def slots_taken(self) -> int:
        """As operators see it."""
        return self.status()[0].bulkhead.in_flight


def raising(error: BaseException) -> Any:
    """A gateway's answer that is none."""

    def answer(_: Order) -> Outcome:
        raise error

    return answer


@pytest.fixture
def it() -> Keyless:
    """A supervisor of one gateway with three slots."""
    return Keyless()


def order_mode(it: Keyless, mode: str) -> None:
    """A person's order comes through."""
    it.address.tell(SetMode(GatewayMode(GATEWAY, mode, "maintenance")))
    it.run()


def trip(it: Keyless) -> None:
    """Have the breaker open, by lookups, which need no record."""
    it.submit(*[work(action=Action.RESOLVE) for _ in range(FAILURES)])
    lookup, it.gateway.lookup = it.gateway.lookup, raising(OutcomeUnknownError("timeout"))  # type: ignore[method-assign]
    it.end_all()
    it.gateway.lookup = lookup  # type: ignore[method-assign]
    assert it.lanes[GATEWAY].breaker.state == "open"


def free(it: Keyless) -> None:
    """Every slot and permit is there again: as many go out at once as there are slots."""
    assert it.slots_taken == 0
    it.customer.messages.clear()
    it.submit(*[work() for _ in range(5)])
    assert len(it.asked) == 3


def test_nothing_goes_out_before_it_is_on_record(it: Keyless) -> None:
    """A submission takes its slot, is told to its customer, and is called only when that says so."""
    item = work()
    it.submit(item)
    it.run(PERMIT_S / 2)
    [request] = it.asked
    assert request.item is item
    assert (it.gateway.calls, it.out, it.slots_taken) == ([], [], 1)
    after = it.clear(request)
    assert it.slots_taken == 1
    it.end()
    [report] = it.customer.of(OutcomeReport)
    assert report.item is after
    assert report.result == Approved(f"A-{item.work_id}", final=True)
    assert it.gateway.calls == [item.work_id]
    free(it)


def test_lookups_need_no_record(it: Keyless) -> None:
    """To ask moves no money."""
    item = work(action=Action.RESOLVE)
    it.submit(item)
    it.end()
    assert it.gateway.lookups == [item.work_id]
    assert it.asked == []


def test_the_bulkhead_counts_what_is_being_recorded(it: Keyless) -> None:
    """Records and calls together never take more than the gateway's slots."""
    it.submit(*[work() for _ in range(10)])
    assert len(it.asked) == 3
    for number in range(10):
        it.clear(it.asked[number])
        assert it.slots_taken <= 3
        it.end()
        assert len(it.asked) == min(10, number + 4)
    assert len(it.gateway.effects) == 10
    free(it)


def test_a_submission_that_must_not_go_out_frees_its_slot(it: Keyless) -> None:
    """When somebody else has the work the next one has its slot, and nothing is called or told."""
    it.submit(*[work() for _ in range(4)])
    for request in it.asked[:3]:
        it.clear(request, refused=True)
    assert [request.item.work_id for request in it.asked[3:]]
    it.clear(it.asked[3], refused=True)
    assert it.results() == []
    assert it.gateway.calls == []
    free(it)


@pytest.mark.parametrize("late", ["expired", "opened", "forced open", "draining"])
def test_what_is_on_record_too_late_is_not_called(it: Keyless, late: str) -> None:
    """A permit that is good no longer when the record is there: no call, no attempt, and the slot is free."""
    it.submit(work())
    [request] = it.asked
    if late == "expired":
        it.run(PERMIT_S + 0.5)
    elif late == "opened":
        trip(it)
        it.customer.messages.clear()
    elif late == "forced open":
        order_mode(it, "open")
    else:
        it.address.tell(Drain())
    after = it.clear(request)
    [report] = it.customer.of(OutcomeReport)
    assert report.item is after
    assert isinstance(report.result, NotTried)
    assert (it.out, it.gateway.calls, it.slots_taken) == ([], [], 0)
    if late == "expired":
        free(it)


@pytest.mark.parametrize("late", ["expired", "opened", "forced open", "draining"])
def test_what_must_not_go_out_frees_its_slot_however_late_it_is(it: Keyless, late: str) -> None:
    """The same when nothing may go out anyhow."""
    it.submit(work())
    [request] = it.asked
    if late == "expired":
        it.run(PERMIT_S + 0.5)
    elif late == "opened":
        trip(it)
        it.customer.messages.clear()
    elif late == "forced open":
        order_mode(it, "open")
    else:
        it.address.tell(Drain())
    it.clear(request, refused=True)
    assert it.results() == []
    assert it.slots_taken == 0


def test_the_slot_is_not_free_before_the_customer_knows(it: Keyless) -> None:
    """A stopping process gives leases back as unsent once no slot is taken: what came of each must be told by then."""
    it.submit(work())
    order_mode(it, "open")
    taken: list[int] = []
    tell = it.customer.tell

    def told(message: object) -> None:
        taken.append(it.lanes[GATEWAY].in_flight)
        tell(message)

    it.customer.tell = told  # type: ignore[method-assign]
    it.clear(it.asked[0])
    assert taken == [1]
    assert it.slots_taken == 0


@pytest.mark.parametrize("call_is_over", [False, True])
def test_a_clearance_that_comes_twice_is_one_call(it: Keyless, *, call_is_over: bool) -> None:
    """Without keys the same call twice is two payments, and a slot that is freed twice is one too many."""
    it.submit(*[work() for _ in range(5)])
    after = it.clear(it.asked[0])
    if call_is_over:
        it.end()
    it.clear(it.asked[0], item=after)
    it.end_all()
    assert it.gateway.calls == [after.work_id]
    assert it.results() == [Approved(f"A-{after.work_id}", final=True)]
    assert it.slots_taken == 3


def test_a_clearance_of_another_supervisors_life_still_counts(it: Keyless) -> None:
    """The supervisor may die between the question and the answer: its successor makes the call and frees the slot."""
    it.submit(work())
    it.address.tell(SetMode(GatewayMode(GATEWAY, "no such mode", "")))  # dies of it, each time
    it.run(5.0)
    assert it.address.deaths
    it.clear(it.asked[0])
    it.end_all()
    assert len(it.gateway.effects) == 1
    assert it.slots_taken == 0


def test_an_unknown_permit_frees_nobody_elses_slot(it: Keyless) -> None:
    """A clearance for a permit that nobody waits for changes nothing."""
    it.submit(*[work() for _ in range(3)])
    it.address.tell(Cleared(GATEWAY, Permit(0, 999), None))
    it.run()
    assert it.slots_taken == 3


def test_without_a_thread_it_was_not_tried(it: Keyless) -> None:
    """When no thread can be had for a call that is on record, the work goes on as one that was not tried."""
    submit = it.bulkheads[GATEWAY].submit

    def failing(_: object) -> None:
        it.lanes[GATEWAY].executor.submit = submit  # type: ignore[method-assign]
        raise RuntimeError("can't start new thread")

    it.lanes[GATEWAY].executor.submit = failing  # type: ignore[method-assign]
    it.submit(work())
    it.clear(it.asked[0])
    it.run(2.0)
    assert [type(result) for result in it.results()] == [NotTried]
    assert it.gateway.calls == []
    free(it)


def test_without_threads_the_record_does_not_grow_without_end(it: Keyless) -> None:
    """Each try costs an event: as with any other failure to call, the breaker opens after a few of them."""

    def failing(_: object) -> None:
        raise RuntimeError("can't start new thread")

    it.lanes[GATEWAY].executor.submit = failing  # type: ignore[method-assign]
    for number in range(3 * FAILURES):
        it.submit(work())
        if len(it.asked) > number:
            it.clear(it.asked[number])
        it.run(0.6)
    assert it.lanes[GATEWAY].breaker.state == "open"
    assert len(it.asked) <= FAILURES + 1


def test_one_submission_is_recorded_half_open(it: Keyless) -> None:
    """A probe is one piece of work from its record on; given back, it lets another be the probe at once."""
    trip(it)
    it.submit(*[work() for _ in range(5)])
    it.run(SLEEP_S + 0.5)
    assert len(it.asked) == 1
    it.clear(it.asked[0], refused=True)
    assert len(it.asked) == 2
    assert it.lanes[GATEWAY].breaker.state == "half_open"
    it.clear(it.asked[1])
    it.end()
    assert it.lanes[GATEWAY].breaker.state == "closed"
    assert len(it.asked) == 2 + RAMP_FIRST


def test_after_a_recovery_few_are_recorded_at_once(it: Keyless) -> None:
    """The ramp holds for what is being recorded as for what is called, and everything goes out in the end."""
    trip(it)
    items = [work() for _ in range(40)]
    it.submit(*items)
    it.run(SLEEP_S + 0.5)
    it.clear(it.asked[0])
    it.end()
    assert it.slots_taken == RAMP_FIRST
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
    assert it.dead_letters.of(Recovered) == []
    it.submit(*[work() for _ in range(6)])
    it.run(SLEEP_S + 0.5)
    it.clear_all()
    assert it.dead_letters.of(Recovered) == [Recovered(GATEWAY)]
    order_mode(it, "closed")
    assert len(it.dead_letters.of(Recovered)) == 1
    order_mode(it, "open")
    order_mode(it, "closed")
    assert len(it.dead_letters.of(Recovered)) == 2


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
        (replace(work(), doubt=Doubt.SENT), Unknown),
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
    assert it.lanes[GATEWAY].breaker.state == breaker


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
    assert it.lanes[GATEWAY].breaker.state == "open"
