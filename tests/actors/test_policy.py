"""What becomes of a piece of work after a call: one table of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from actors.messages import CallResult, NotSent, NotTried, Unhandled
from actors.policy import DAY_S, ERROR_LENGTH_MAX, ERRORS_KEPT, WorkPolicy, next_step, ran_a_day
from actors.runtime.simulated import EPOCH
from domain.account import Status
from domain.outcomes import Approved, Category, Declined, NotReceived, Unknown
from store.port import Action, CloseWork, Doubt, MoveWork, WorkError, WorkItem, WorkState
from tests.actors.lanes import work as a_piece_of_work

KEYS: Final = WorkPolicy(
    honours_keys=True,
    max_retries=3,
    lookup_after_s=(5.0, 30.0, 120.0),
    dead_letter_first_s=10.0,
    dead_letter_max_s=100.0,
    dead_letter_attempts=5,
)
NO_KEYS: Final = replace(KEYS, honours_keys=False)

SUBMIT, RESOLVE = Action.SUBMIT, Action.RESOLVE
QUEUED, DEAD, PARKED = WorkState.QUEUED, WorkState.DEAD, WorkState.PARKED
FINAL, PENDING = Approved("A-1", final=True), Approved("A-1", final=False)
DECLINED = Declined("do_not_honor", Category.HARD, "no")
NOT_SENT, UNKNOWN, NEVER = NotSent("refused"), Unknown("timeout"), NotReceived()
NOT_TRIED, UNHANDLED = NotTried("the breaker opened"), Unhandled("nothing handles it")
NONE, LEASE_LOST, SENT = Doubt


def work(action: Action = SUBMIT, attempts: int = 0, status: Status = Status.PENDING, **changes: Any) -> WorkItem:
    """A piece of work of a transaction that was created at EPOCH."""
    item = a_piece_of_work()
    assert item.transaction is not None
    transaction = replace(item.transaction, transaction_id="t-1", status=status)
    item = replace(item, work_id="t-1", action=action, attempts=attempts, transaction=transaction)
    return replace(item, **changes)


# Action, attempts so far, result, policy -> next action, state, longest wait, attempts; None: closed.
# A wait of an answered lookup is exact; one after a failure to send is anything up to the figure (full jitter).
CASES: Final[list[tuple[Action, int, CallResult, WorkPolicy, tuple[Action, WorkState, float, int] | None]]] = [
    # final answers close the work, whatever was asked
    (SUBMIT, 0, FINAL, KEYS, None),
    (SUBMIT, 9, FINAL, NO_KEYS, None),
    (RESOLVE, 4, FINAL, KEYS, None),
    (SUBMIT, 0, DECLINED, KEYS, None),
    (RESOLVE, 0, DECLINED, NO_KEYS, None),
    # accepted and not final: the schedule of lookups, anew after a sending
    (SUBMIT, 0, PENDING, KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (SUBMIT, 3, PENDING, NO_KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (RESOLVE, 0, PENDING, KEYS, (RESOLVE, QUEUED, 30.0, 1)),
    (RESOLVE, 1, PENDING, KEYS, (RESOLVE, QUEUED, 120.0, 2)),
    (RESOLVE, 2, PENDING, KEYS, (RESOLVE, QUEUED, DAY_S, 3)),
    (RESOLVE, 500, PENDING, KEYS, (RESOLVE, QUEUED, DAY_S, 501)),
    # never received: again at once, under the same key, or without one when nothing can come of it any more
    (RESOLVE, 2, NEVER, KEYS, (SUBMIT, QUEUED, 0.0, 0)),
    (RESOLVE, 0, NEVER, NO_KEYS, (SUBMIT, QUEUED, 0.0, 0)),
    # surely not sent: a few quick retries, then a dead letter, then a person; without keys as well
    (SUBMIT, 0, NOT_SENT, KEYS, (SUBMIT, QUEUED, 0.2, 1)),
    (SUBMIT, 1, NOT_SENT, NO_KEYS, (SUBMIT, QUEUED, 0.4, 2)),
    (SUBMIT, 2, NOT_SENT, KEYS, (SUBMIT, QUEUED, 0.8, 3)),
    (SUBMIT, 3, NOT_SENT, KEYS, (SUBMIT, DEAD, 10.0, 4)),
    (SUBMIT, 4, NOT_SENT, NO_KEYS, (SUBMIT, DEAD, 20.0, 5)),
    (SUBMIT, 6, NOT_SENT, KEYS, (SUBMIT, DEAD, 80.0, 7)),
    (SUBMIT, 7, NOT_SENT, KEYS, (SUBMIT, DEAD, 100.0, 8)),
    (SUBMIT, 8, NOT_SENT, KEYS, (SUBMIT, PARKED, 100.0, 9)),
    (SUBMIT, 10_000, NOT_SENT, KEYS, (SUBMIT, PARKED, 100.0, 10_001)),
    # may have acted: the same under the same key, else only a lookup may go on
    (SUBMIT, 0, UNKNOWN, KEYS, (SUBMIT, QUEUED, 0.2, 1)),
    (SUBMIT, 3, UNKNOWN, KEYS, (SUBMIT, DEAD, 10.0, 4)),
    (SUBMIT, 0, UNKNOWN, NO_KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (SUBMIT, 7, UNKNOWN, NO_KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    # a lookup that failed is looked up again, and never gives up
    (RESOLVE, 0, NOT_SENT, KEYS, (RESOLVE, QUEUED, 30.0, 1)),
    (RESOLVE, 1, UNKNOWN, NO_KEYS, (RESOLVE, QUEUED, 120.0, 2)),
    (RESOLVE, 10_000, UNKNOWN, KEYS, (RESOLVE, QUEUED, DAY_S, 10_001)),
    # not tried: as it was, at once, and no attempt
    (SUBMIT, 0, NOT_TRIED, NO_KEYS, (SUBMIT, QUEUED, 0.0, 0)),
    (SUBMIT, 7, NOT_TRIED, NO_KEYS, (SUBMIT, QUEUED, 0.0, 7)),
    (RESOLVE, 3, NOT_TRIED, KEYS, (RESOLVE, QUEUED, 0.0, 3)),
    # nobody can do it: to a person at once
    (SUBMIT, 0, UNHANDLED, KEYS, (SUBMIT, PARKED, 0.0, 0)),
    (SUBMIT, 5, UNHANDLED, NO_KEYS, (SUBMIT, PARKED, 0.0, 5)),
    (RESOLVE, 2, UNHANDLED, KEYS, (RESOLVE, PARKED, 0.0, 2)),
]


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
@pytest.mark.parametrize(("action", "attempts", "result", "policy", "expected"), CASES)
def test_every_case_of_the_table(
    *,
    action: Action,
    attempts: int,
    result: CallResult,
    policy: WorkPolicy,
    expected: tuple[Action, WorkState, float, int] | None,
    chance: float,
) -> None:
    """Each action, result and number of attempts leads to what the table says, within its longest wait."""
    step = next_step(work(action, attempts), result, policy, now=EPOCH, chance=chance)
    if expected is None:
        assert step == CloseWork("t-1")
        return
    assert isinstance(step, MoveWork)
    next_action, state, wait_s, next_attempts = expected
    assert (step.action, step.state, step.attempts) == (next_action, state, next_attempts)
    spread = next_action is SUBMIT and wait_s > 0
    assert step.delay_s == pytest.approx(wait_s * (chance if spread else 1.0))


def test_what_is_processed_already_is_never_sent_again() -> None:
    """A provider that has accepted and now says "never received" is asked again, not sent the money a second time."""
    step = next_step(work(RESOLVE, 0), NEVER, KEYS, now=EPOCH, chance=0.5, status=Status.PROCESSED)
    assert isinstance(step, MoveWork)
    assert step.action is RESOLVE


def test_each_failure_is_kept_for_people_within_bounds() -> None:
    """The newest errors are kept, each cut to a bounded length, and an answer adds none."""
    errors = tuple(WorkError(EPOCH, str(number)) for number in range(ERRORS_KEPT))
    later = EPOCH + timedelta(days=1)
    step = next_step(work(errors=errors), NotSent("x" * 10_000), KEYS, now=later, chance=0.0)
    assert isinstance(step, MoveWork)
    assert step.errors == (*errors[1:], WorkError(later, "x" * ERROR_LENGTH_MAX))
    answered = next_step(work(errors=errors), PENDING, KEYS, now=later, chance=0.0)
    assert isinstance(answered, MoveWork)
    assert answered.errors == errors


def test_work_without_a_transaction_ends_with_a_person() -> None:
    """Work that names no transaction runs through retries and dead letters and is parked at the end."""
    item, states = work(transaction=None), []
    for _ in range(9):
        step = next_step(item, NOT_SENT, KEYS, now=EPOCH, chance=0.0)
        assert isinstance(step, MoveWork)
        states.append(step.state)
        item = replace(item, attempts=step.attempts)
    assert states == [QUEUED] * 3 + [DEAD] * 5 + [PARKED]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
@pytest.mark.parametrize("action", [SUBMIT, RESOLVE])
@pytest.mark.parametrize("result", [NEVER, FINAL, PENDING, DECLINED, NOT_SENT, UNKNOWN, NOT_TRIED, UNHANDLED])
def test_nothing_is_sent_again_for_what_has_its_end(status: Status, result: CallResult, action: Action) -> None:
    """Whatever a provider says of a transaction that is completed or failed, its work is over."""
    assert next_step(work(action), result, KEYS, now=EPOCH, chance=0.5, status=status) == CloseWork("t-1")


# Action, doubt before, result, with keys, status afterwards -> doubt afterwards; None: closed.
DOUBTS: Final[list[tuple[Action, Doubt, CallResult, bool, Status, Doubt | None]]] = [
    # sent, and it may have arrived
    (SUBMIT, NONE, UNKNOWN, True, Status.UNKNOWN, SENT),
    (SUBMIT, LEASE_LOST, UNKNOWN, True, Status.UNKNOWN, SENT),
    (SUBMIT, SENT, UNKNOWN, False, Status.UNKNOWN, SENT),
    (SUBMIT, NONE, UNKNOWN, False, Status.UNKNOWN, SENT),
    # it did arrive
    (SUBMIT, NONE, PENDING, True, Status.PROCESSED, SENT),
    (SUBMIT, SENT, PENDING, False, Status.PROCESSED, SENT),
    # surely not sent this time: with keys that says nothing of the times before, without keys there was none
    (SUBMIT, NONE, NOT_SENT, True, Status.PENDING, NONE),
    (SUBMIT, LEASE_LOST, NOT_SENT, True, Status.PENDING, LEASE_LOST),
    (SUBMIT, SENT, NOT_SENT, True, Status.UNKNOWN, SENT),
    (SUBMIT, SENT, NOT_SENT, False, Status.PENDING, NONE),
    (SUBMIT, LEASE_LOST, NOT_SENT, False, Status.PENDING, NONE),
    (SUBMIT, NONE, NOT_TRIED, True, Status.PENDING, NONE),
    (SUBMIT, SENT, NOT_TRIED, True, Status.UNKNOWN, SENT),
    (SUBMIT, SENT, NOT_TRIED, False, Status.PENDING, NONE),
    (SUBMIT, SENT, NOT_TRIED, False, Status.UNKNOWN, NONE),
    # a lookup that could not be made or had no answer says nothing of what was sent
    (RESOLVE, SENT, NOT_SENT, False, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, NOT_TRIED, False, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, UNKNOWN, False, Status.UNKNOWN, SENT),
    (RESOLVE, LEASE_LOST, UNKNOWN, True, Status.UNKNOWN, LEASE_LOST),
    (RESOLVE, SENT, PENDING, False, Status.PROCESSED, SENT),
    # it never arrived; a provider with keys is asked under the same one again, and nothing is to be discarded then
    (RESOLVE, SENT, NEVER, False, Status.UNKNOWN, NONE),
    (RESOLVE, SENT, NEVER, True, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, NEVER, False, Status.PROCESSED, SENT),
    # nobody looked
    (SUBMIT, NONE, UNHANDLED, True, Status.PENDING, NONE),
    (SUBMIT, LEASE_LOST, UNHANDLED, True, Status.PENDING, LEASE_LOST),
    (SUBMIT, SENT, UNHANDLED, False, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, UNHANDLED, False, Status.UNKNOWN, SENT),
    # the end
    (SUBMIT, SENT, FINAL, False, Status.COMPLETED, None),
    (RESOLVE, SENT, DECLINED, True, Status.FAILED, None),
]


@pytest.mark.parametrize(("action", "before", "result", "keys", "status", "after"), DOUBTS)
def test_every_doubt(
    *, action: Action, before: Doubt, result: CallResult, keys: bool, status: Status, after: Doubt | None
) -> None:
    """What remains open after each result; too little would let a person falsify the record by discarding."""
    item = work(action, doubt=before)
    step = next_step(item, result, KEYS if keys else NO_KEYS, now=EPOCH, chance=0.5, status=status)
    assert (step.doubt if isinstance(step, MoveWork) else None) is after


@pytest.mark.parametrize("attempts", range(12))
@pytest.mark.parametrize("doubt", Doubt)
@pytest.mark.parametrize("status", [Status.PENDING, Status.UNKNOWN])
@pytest.mark.parametrize("result", [NOT_SENT, UNKNOWN])
def test_with_keys_doubt_never_grows_less(status: Status, result: CallResult, doubt: Doubt, attempts: int) -> None:
    """However often it fails, also when it goes from sending to looking up."""
    step = next_step(work(SUBMIT, attempts, doubt=doubt), result, KEYS, now=EPOCH, chance=0.5, status=status)
    assert isinstance(step, MoveWork)
    assert step.doubt >= doubt


@pytest.mark.parametrize(
    ("action", "doubt", "keys", "discardable"),
    [
        (SUBMIT, NONE, True, True),
        (SUBMIT, LEASE_LOST, True, False),
        (SUBMIT, SENT, True, False),
        (SUBMIT, NONE, False, True),
        (SUBMIT, LEASE_LOST, False, True),
        (SUBMIT, SENT, False, False),
        *[(RESOLVE, doubt, keys, False) for doubt in Doubt for keys in (True, False)],
    ],
)
def test_what_may_be_discarded(action: Action, doubt: Doubt, *, keys: bool, discardable: bool) -> None:
    """Only what surely was never sent; without keys a sending is on record, so that a lost lease alone says nothing."""
    assert (KEYS if keys else NO_KEYS).discardable(work(action, doubt=doubt)) is discardable


@pytest.mark.parametrize("status", [Status.PENDING, Status.UNKNOWN])
@pytest.mark.parametrize(
    ("attempts", "left_s", "delay_s"),
    [
        (0, 65.0, 30.0),
        (0, 30.0, 30.0),
        (0, 29.0, 29.0),
        (1, 65.0, 65.0),
        (2, 65.0, 65.0),
        (50, 1e-9, 1e-9),
        (50, 200_000.0, DAY_S),
    ],
)
def test_never_received_proves_nothing_before_its_time(
    status: Status, attempts: int, left_s: float, delay_s: float
) -> None:
    """Without keys it is looked up again, at the latest when the answer counts; it is not sent."""
    item = work(RESOLVE, attempts, doubt=SENT)
    step = next_step(item, NEVER, NO_KEYS, now=EPOCH, chance=0.5, status=status, settle_left_s=left_s)
    assert isinstance(step, MoveWork)
    assert (step.action, step.state, step.delay_s, step.doubt) == (RESOLVE, QUEUED, delay_s, SENT)


def test_with_keys_nothing_has_to_settle() -> None:
    """Under the same key it may arrive late and it is one effect."""
    step = next_step(work(RESOLVE), NEVER, KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN, settle_left_s=60.0)
    assert isinstance(step, MoveWork)
    assert step.action is SUBMIT


@pytest.mark.parametrize("left_s", [0.0, 60.0])
@pytest.mark.parametrize("policy", [KEYS, NO_KEYS])
def test_what_was_accepted_is_never_sent_again(policy: WorkPolicy, left_s: float) -> None:
    """A provider that has accepted and then says "never received" contradicts itself: people see that, and it waits."""
    item = work(RESOLVE, 1, doubt=SENT)
    step = next_step(item, NEVER, policy, now=EPOCH, chance=0.5, status=Status.PROCESSED, settle_left_s=left_s)
    assert isinstance(step, MoveWork)
    assert (step.action, step.delay_s, len(step.errors)) == (RESOLVE, 120.0, 1)


@pytest.mark.parametrize("policy", [KEYS, NO_KEYS])
@pytest.mark.parametrize("doubt", Doubt)
@pytest.mark.parametrize("action", Action)
def test_what_nobody_can_do_goes_to_a_person_with_its_error(action: Action, doubt: Doubt, policy: WorkPolicy) -> None:
    """Parked at once, the reason for people with it, and nothing else about it changes."""
    item = work(action, 4, doubt=doubt)
    step = next_step(item, UNHANDLED, policy, now=EPOCH, chance=0.5, status=Status.PENDING)
    errors = (WorkError(EPOCH, UNHANDLED.reason),)
    assert step == MoveWork("t-1", action, PARKED, 0.0, 4, errors, doubt)


DAY: Final = timedelta(seconds=DAY_S)


@pytest.mark.parametrize("result", [NOT_SENT, UNKNOWN])
@pytest.mark.parametrize("status", [Status.PENDING, Status.UNKNOWN, Status.PROCESSED])
@pytest.mark.parametrize("attempts", [0, 1, 6, 500])
@pytest.mark.parametrize(
    ("after", "ran"),
    [
        (timedelta(0), False),
        (timedelta(days=-3), False),
        (DAY - timedelta(microseconds=1), False),
        (DAY, True),
        (3 * DAY, True),
    ],
)
def test_a_day_without_a_word(
    after: timedelta, attempts: int, status: Status, result: CallResult, *, ran: bool
) -> None:
    """A day after the last event, by the clock, a lookup without an answer is for a person; however many there were."""
    assert ran_a_day(work(RESOLVE, attempts), result, EPOCH + after, status=status) is ran


@pytest.mark.parametrize("result", [FINAL, PENDING, DECLINED, NOT_TRIED, UNHANDLED])
def test_an_answer_is_no_day_without_one(result: CallResult) -> None:
    """Whatever the gateway says, also that it goes on, or when nobody asked it."""
    assert not ran_a_day(work(RESOLVE), result, EPOCH + 3 * DAY, status=Status.UNKNOWN)


def test_sendings_are_no_lookups() -> None:
    """An attempt at sending is no lookup, however old the transaction; and without one there is nothing to review."""
    assert not ran_a_day(work(SUBMIT), UNKNOWN, EPOCH + 3 * DAY, status=Status.UNKNOWN)
    assert not ran_a_day(work(RESOLVE, transaction=None), UNKNOWN, EPOCH + 3 * DAY, status=Status.UNKNOWN)


@pytest.mark.parametrize(("status", "ran"), [(Status.UNKNOWN, False), (Status.PROCESSED, True)])
def test_never_received_is_an_answer_unless_it_was_accepted(status: Status, *, ran: bool) -> None:
    """What is sent again needs no person; what was accepted, and then never received, does."""
    assert ran_a_day(work(RESOLVE, 3), NEVER, EPOCH + DAY, status=status) is ran


@pytest.mark.parametrize("left_s", [10.0, 1000.0])
@pytest.mark.parametrize("attempts", [0, 1, 2, 9])
def test_a_lookup_that_comes_early_does_not_use_up_the_schedule(attempts: int, left_s: float) -> None:
    """One that only waits for the answer to count is made in addition, so that it does not lead to daily lookups."""
    item = work(RESOLVE, attempts, doubt=SENT)
    plain = next_step(item, UNKNOWN, NO_KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN)
    step = next_step(item, NEVER, NO_KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN, settle_left_s=left_s)
    assert isinstance(step, MoveWork)
    assert isinstance(plain, MoveWork)
    assert (step.delay_s, step.attempts) == min((left_s, attempts), (plain.delay_s, plain.attempts))
