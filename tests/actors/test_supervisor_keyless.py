"""The supervisor and gateways without keys: nothing goes out before its record, and every slot comes free again."""

from __future__ import annotations

import pytest

from actors.gateways.breaker import Permit
from actors.messages import (
    ApplyBreakerMode,
    Drain,
    NotTried,
    OutcomeReport,
    SubmissionRecorded,
)
from domain.outcomes import Approved
from store.port import Action, GatewayMode
from tests.actors.bulkheads import FAILURES, PERMIT_S, Keyless, order_mode, trip, work
from tests.actors.support import GATEWAY


@pytest.fixture
def it() -> Keyless:
    """A supervisor of one gateway with three slots."""
    return Keyless()


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
        taken.append(it.bulkheads[GATEWAY].in_flight)
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
    it.address.tell(ApplyBreakerMode(GatewayMode(GATEWAY, "no such mode", "")))  # dies of it, each time
    it.run(5.0)
    assert it.address.deaths
    it.clear(it.asked[0])
    it.end_all()
    assert len(it.gateway.effects) == 1
    assert it.slots_taken == 0


def test_an_unknown_permit_frees_nobody_elses_slot(it: Keyless) -> None:
    """A clearance for a permit that nobody waits for changes nothing."""
    it.submit(*[work() for _ in range(3)])
    it.address.tell(SubmissionRecorded(GATEWAY, Permit(0, 999), None))
    it.run()
    assert it.slots_taken == 3


def test_without_a_thread_it_was_not_tried(it: Keyless) -> None:
    """When no thread can be had for a call that is on record, the work goes on as one that was not tried."""
    submit = it.slots[GATEWAY].submit

    def failing(_: object) -> None:
        it.bulkheads[GATEWAY].executor.submit = submit  # type: ignore[method-assign]
        raise RuntimeError("can't start new thread")

    it.bulkheads[GATEWAY].executor.submit = failing  # type: ignore[method-assign]
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

    it.bulkheads[GATEWAY].executor.submit = failing  # type: ignore[method-assign]
    for number in range(3 * FAILURES):
        it.submit(work())
        if len(it.asked) > number:
            it.clear(it.asked[number])
        it.run(0.6)
    assert it.bulkheads[GATEWAY].breaker.state == "open"
    assert len(it.asked) <= FAILURES + 1
