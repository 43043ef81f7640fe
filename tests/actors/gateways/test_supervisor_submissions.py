"""Submissions and crashes: nothing is sent before its record, or twice, and every slot becomes free again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.gateways.breaker import Permit
from actors.messages import ApplyBreakerMode, Drain, NotTried, StatusRequest, SubmissionRecorded
from actors.operations.outcome import OutcomeOperation
from actors.replies import GatewayStatus
from actors.runtime.actor import Future
from domain.outcomes import Approved, NotSentError, Outcome, OutcomeUnknownError, Unknown
from gateways.port import Order
from store.port import Action, GatewayMode
from tests.actors.gateways.fixtures import (
    FAILURES,
    PERMIT_S,
    SLEEP_S,
    Keyless,
    Supervised,
    assert_all_slots_free,
    force_mode,
    order_mode,
    raising,
    trip,
    trip_by_submissions,
    work,
)
from tests.actors.support import GATEWAY


def test_nothing_goes_out_before_it_is_on_record(keyless: Keyless) -> None:
    """A submission takes a slot, goes to its customer to be recorded, and is called only after that."""
    item = work()
    keyless.submit(item)
    keyless.run(PERMIT_S / 2)
    [request] = keyless.requested
    assert request.item is item
    assert (keyless.gateway.calls, keyless.out, keyless.slots_taken) == ([], [], 1)
    after = keyless.clear(request)
    assert keyless.slots_taken == 1
    keyless.end()
    [report] = keyless.customer.of(OutcomeOperation)
    assert report.item is after
    assert report.result == Approved(f"A-{item.work_id}", final=True)
    assert keyless.gateway.calls == [item.work_id]
    assert_all_slots_free(keyless)


def test_lookups_need_no_record(keyless: Keyless) -> None:
    """A lookup moves no money."""
    item = work(action=Action.RESOLVE)
    keyless.submit(item)
    keyless.end()
    assert keyless.gateway.lookups == [item.work_id]
    assert keyless.requested == []


def test_the_bulkhead_counts_what_is_being_recorded(keyless: Keyless) -> None:
    """Records and calls together never take more than the gateway's slots."""
    keyless.submit(*[work() for _ in range(10)])
    assert len(keyless.requested) == 3
    for number in range(10):
        keyless.clear(keyless.requested[number])
        assert keyless.slots_taken <= 3
        keyless.end()
        assert len(keyless.requested) == min(10, number + 4)
    assert len(keyless.gateway.effects) == 10
    assert_all_slots_free(keyless)


def test_a_submission_that_must_not_go_out_frees_its_slot(keyless: Keyless) -> None:
    """When another owner has the work, the next one gets its slot, and nothing is called or reported."""
    keyless.submit(*[work() for _ in range(4)])
    for request in keyless.requested[:3]:
        keyless.clear(request, refused=True)
    assert [request.item.work_id for request in keyless.requested[3:]]
    keyless.clear(keyless.requested[3], refused=True)
    assert keyless.results() == []
    assert keyless.gateway.calls == []
    assert_all_slots_free(keyless)


@pytest.mark.parametrize("late", ["expired", "opened", "forced open", "draining"])
def test_a_submission_recorded_too_late_is_not_called(keyless: Keyless, late: str) -> None:
    """A permit that is invalid when the record is stored: no call, no attempt, and the slot is free."""
    keyless.submit(work())
    [request] = keyless.requested
    if late == "expired":
        keyless.run(PERMIT_S + 0.5)
    elif late == "opened":
        trip(keyless)
        keyless.customer.messages.clear()
    elif late == "forced open":
        order_mode(keyless, "open")
    else:
        keyless.address.tell(Drain())
    after = keyless.clear(request)
    [report] = keyless.customer.of(OutcomeOperation)
    assert report.item is after
    assert isinstance(report.result, NotTried)
    assert (keyless.out, keyless.gateway.calls, keyless.slots_taken) == ([], [], 0)
    if late == "expired":
        assert_all_slots_free(keyless)


@pytest.mark.parametrize("late", ["expired", "opened", "forced open", "draining"])
def test_a_refused_submission_frees_its_slot_however_late(keyless: Keyless, late: str) -> None:
    """The same must hold when nothing may be sent anyway."""
    keyless.submit(work())
    [request] = keyless.requested
    if late == "expired":
        keyless.run(PERMIT_S + 0.5)
    elif late == "opened":
        trip(keyless)
        keyless.customer.messages.clear()
    elif late == "forced open":
        order_mode(keyless, "open")
    else:
        keyless.address.tell(Drain())
    keyless.clear(request, refused=True)
    assert keyless.results() == []
    assert keyless.slots_taken == 0


def test_the_slot_is_not_free_before_the_report(keyless: Keyless) -> None:
    """A stopping process gives leases back as unsent when no slot is taken: every outcome must be reported by then."""
    keyless.submit(work())
    order_mode(keyless, "open")
    taken: list[int] = []
    tell = keyless.customer.tell

    def reported(message: object) -> None:
        taken.append(keyless.bulkheads[GATEWAY].in_flight)
        tell(message)

    keyless.customer.tell = reported  # type: ignore[method-assign]
    keyless.clear(keyless.requested[0])
    assert taken == [1]
    assert keyless.slots_taken == 0


@pytest.mark.parametrize("call_is_over", [False, True])
def test_a_repeated_record_is_one_call(keyless: Keyless, *, call_is_over: bool) -> None:
    """Without keys a repeated call is a second payment, and a slot freed twice is one too many."""
    keyless.submit(*[work() for _ in range(5)])
    after = keyless.clear(keyless.requested[0])
    if call_is_over:
        keyless.end()
    keyless.clear(keyless.requested[0], item=after)
    keyless.end_all()
    assert keyless.gateway.calls == [after.work_id]
    assert keyless.results() == [Approved(f"A-{after.work_id}", final=True)]
    assert keyless.slots_taken == 3


def test_a_record_requested_by_a_predecessor_still_counts(keyless: Keyless) -> None:
    """The supervisor may die between request and answer: its successor makes the call and frees the slot."""
    keyless.submit(work())
    keyless.address.tell(ApplyBreakerMode(GatewayMode(GATEWAY, "no such mode", "")))  # dies of this mode, each time
    keyless.run(5.0)
    assert keyless.address.deaths
    keyless.clear(keyless.requested[0])
    keyless.end_all()
    assert len(keyless.gateway.effects) == 1
    assert keyless.slots_taken == 0


def test_an_unknown_permit_frees_no_slot(keyless: Keyless) -> None:
    """An answer for an unknown permit changes nothing."""
    keyless.submit(*[work() for _ in range(3)])
    keyless.address.tell(SubmissionRecorded(GATEWAY, Permit(0, 999), None))
    keyless.run()
    assert keyless.slots_taken == 3


def test_without_a_thread_it_was_not_tried(keyless: Keyless) -> None:
    """When no thread is available for a recorded submission, it is reported as not tried."""
    submit = keyless.slots[GATEWAY].submit

    def failing(_: object) -> None:
        keyless.bulkheads[GATEWAY].executor.submit = submit  # type: ignore[method-assign]
        raise RuntimeError("can't start new thread")

    keyless.bulkheads[GATEWAY].executor.submit = failing  # type: ignore[method-assign]
    keyless.submit(work())
    keyless.clear(keyless.requested[0])
    keyless.run(2.0)
    assert [type(result) for result in keyless.results()] == [NotTried]
    assert keyless.gateway.calls == []
    assert_all_slots_free(keyless)


def test_without_threads_the_record_does_not_grow_without_end(keyless: Keyless) -> None:
    """Each try costs an event: as after any other failure, the breaker opens after a few of them."""

    def failing(_: object) -> None:
        raise RuntimeError("can't start new thread")

    keyless.bulkheads[GATEWAY].executor.submit = failing  # type: ignore[method-assign]
    for number in range(3 * FAILURES):
        keyless.submit(work())
        if len(keyless.requested) > number:
            keyless.clear(keyless.requested[number])
        keyless.run(0.6)
    assert keyless.bulkheads[GATEWAY].breaker.state == "open"
    assert len(keyless.requested) <= FAILURES + 1


ERRORS: list[BaseException] = [RuntimeError("can't start new thread"), SystemExit()]


def fail_submission(keyless: Supervised, how: str, error: BaseException) -> None:
    """The next call is made ``at once``, ``later`` or ``never``, and its submission raises ``error``."""
    bulkhead = keyless.slots[GATEWAY]
    original = bulkhead.submit

    def submit(function: Callable[[], None], /) -> None:
        bulkhead.submit = original  # type: ignore[method-assign]
        if how == "at once":
            function()
        elif how == "later":
            original(function)
        raise error

    bulkhead.submit = submit  # type: ignore[method-assign]


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("error", ERRORS)
def test_a_death_while_reporting_a_call_not_made(keyless: Keyless, error: BaseException, *, reopened: bool) -> None:
    """It is still reported, once, and nothing is sent, even if the breaker closed meanwhile."""
    keyless.submit(work())
    [request] = keyless.requested
    force_mode(keyless, "open")
    tell = keyless.customer.tell

    def deadly(message: object, /) -> None:
        if isinstance(message, OutcomeOperation):
            keyless.customer.tell = tell  # type: ignore[method-assign]
            if reopened:
                keyless.bulkheads[GATEWAY].breaker.force("auto")
            raise error
        tell(message)

    keyless.customer.tell = deadly  # type: ignore[method-assign]
    keyless.clear(request)
    keyless.run(5.0)
    assert keyless.address.deaths == 1
    assert [type(result) for result in keyless.results()] == [NotTried]
    assert (keyless.out, keyless.gateway.calls) == ([], [])
    force_mode(keyless, "closed")
    assert_all_slots_free(keyless)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("how", ["at once", "later", "never"])
def test_a_call_whose_submission_failed_is_made_once_or_never(keyless: Keyless, how: str, error: BaseException) -> None:
    """Either it is made and its answer counts, or it is reported as not tried and is never made."""
    item = work()
    fail_submission(keyless, how, error)
    keyless.submit(item)
    keyless.clear(keyless.requested[0])
    keyless.end_all()
    keyless.run(2.0)
    keyless.end_all()
    if how == "at once":
        assert keyless.results() == [Approved(f"A-{item.work_id}", final=True)]
        assert keyless.gateway.calls == [item.work_id]
    else:
        assert [type(result) for result in keyless.results()] == [NotTried]
        assert keyless.gateway.calls == []
    assert_all_slots_free(keyless)


@pytest.mark.parametrize("error", ERRORS)
def test_a_death_while_reporting_that_no_thread_was_available(keyless: Keyless, error: BaseException) -> None:
    """One shortage may cause both: the work is still reported, once, and the slot becomes free."""
    fail_submission(keyless, "never", error)
    keyless.submit(work())
    tell = keyless.customer.tell

    def deadly(message: object, /) -> None:
        keyless.customer.tell = tell  # type: ignore[method-assign]
        raise error

    keyless.customer.tell = deadly  # type: ignore[method-assign]
    keyless.clear(keyless.requested[0])
    keyless.run(5.0)
    assert keyless.address.deaths == 1
    assert [type(result) for result in keyless.results()] == [NotTried]
    assert keyless.gateway.calls == []
    assert_all_slots_free(keyless)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("how", ["at once", "later", "never"])
def test_with_keys_it_is_called_once_too(how: str, error: BaseException) -> None:
    """The work keeps waiting if no thread has it, and is not called twice if one has."""
    keyless = Supervised()
    item = work()
    fail_submission(keyless, how, error)
    keyless.submit(item)
    keyless.run(2.0)
    keyless.end_all()
    keyless.run(2.0)
    assert keyless.gateway.calls == [item.work_id]
    assert keyless.results() == [Approved(f"A-{item.work_id}", final=True)]
    assert keyless.bulkheads[GATEWAY].in_flight == 0


class UnspeakableError(NotSentError):
    """An error whose text raises another error."""

    def __str__(self) -> str:
        """Fail."""
        raise ValueError("no words")


@pytest.mark.parametrize("error", [UnspeakableError(), type("Odd", (UnspeakableError, OutcomeUnknownError), {})()])
def test_a_call_that_breaks_off_has_an_outcome(keyless: Keyless, error: BaseException) -> None:
    """Whatever fails around the adapter: the outcome is reported as unknown, and the slot becomes free."""

    def answer(_: Order) -> Outcome:
        raise error

    keyless.gateway.answer = answer
    keyless.submit(work())
    keyless.clear(keyless.requested[0])
    with pytest.raises(ValueError, match="no words"):  # the bulkhead's thread logs it
        keyless.end()
    keyless.run()
    assert keyless.results() == [Unknown("the call broke off")]
    assert_all_slots_free(keyless)


def test_a_failing_listener_hides_no_answer(keyless: Keyless) -> None:
    """The gateway's answer is reported, whatever the listener raises."""

    def called(*_: Any) -> None:
        raise ValueError("no words")

    keyless.heard.called = called  # type: ignore[method-assign, assignment]
    item = work()
    keyless.submit(item)
    keyless.clear(keyless.requested[0])
    with pytest.raises(ValueError, match="no words"):
        keyless.end()
    keyless.run()
    assert keyless.results() == [Approved(f"A-{item.work_id}", final=True)]
    assert_all_slots_free(keyless)


@pytest.mark.parametrize("state", ["closed", "open"])
def test_what_waits_and_the_breaker_survive_the_actors_death(supervised: Supervised, state: str) -> None:
    """A successor continues with the same bulkheads: no waiting work, slot or breaker state is lost."""
    if state == "open":
        trip_by_submissions(supervised)
    items = [work() for _ in range(6)]
    supervised.submit(*items)
    out = len(supervised.out)
    answered: Future[tuple[GatewayStatus, ...]] = Future()
    answered.set(())
    supervised.address.tell(StatusRequest(answered))  # a second answer would kill the actor
    supervised.run()
    assert supervised.address.deaths > 0
    assert supervised.bulkheads[GATEWAY].breaker.state == state
    assert supervised.bulkheads[GATEWAY].in_flight == out
    supervised.gateway.answer = supervised.gateway.accept
    supervised.run(SLEEP_S + 0.5)
    supervised.end_all()
    assert list(supervised.gateway.effects) == [item.work_id for item in items]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_death_at_a_breaker_transition_stalls_no_bulkhead(supervised: Supervised, nth: int) -> None:
    """Waiting work is sent soon after the actor died at the breaker's nth transition, without any message."""
    turns = []

    def changed(gateway: str, state: str) -> None:
        turns.append(state)
        if len(turns) == nth:
            raise RuntimeError(f"cannot report that {gateway} is {state}")

    supervised.heard.breaker_changed = changed  # type: ignore[method-assign]
    supervised.gateway.answer = raising(OutcomeUnknownError("timeout"))
    items = [work() for _ in range(10)]
    supervised.submit(*items)
    for _ in range(FAILURES):
        supervised.end()
    supervised.gateway.answer = supervised.gateway.accept
    for _ in range(10):
        supervised.run(SLEEP_S)
        supervised.end_all()
    assert len(supervised.results()) == 10
    assert supervised.address.deaths == 1
    assert supervised.bulkheads[GATEWAY].in_flight == 0


def test_an_executor_that_cannot_take_a_call_loses_no_work(supervised: Supervised) -> None:
    """When no thread can be started, the work keeps waiting with its slot free, and is sent when one is available."""
    original = supervised.slots[GATEWAY].submit
    failures = [RuntimeError("can't start new thread")]

    def submit(function: Any, /) -> None:
        if failures:
            raise failures.pop()
        original(function)

    supervised.bulkheads[GATEWAY].executor.submit = submit  # type: ignore[method-assign]
    items = [work(), work()]
    supervised.submit(*items)
    assert not supervised.out
    supervised.run(2.0)
    supervised.end_all()
    assert {item.work_id for item in items} <= set(supervised.gateway.effects)
    assert supervised.bulkheads[GATEWAY].in_flight == 0
