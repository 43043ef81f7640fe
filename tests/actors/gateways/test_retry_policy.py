"""The next step of a piece of work after a call: one table of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from actors.gateways.retry_policy import DAY_S, ERROR_LENGTH_MAX, ERRORS_KEPT, RetryPolicy, next_step
from actors.messages import CallResult, NotSent
from actors.runtime.simulated import EPOCH
from domain.account import Status
from domain.events import Kind
from gateways.port import OperationFacts
from store.port import Action, CloseWork, DeliveryCertainty, MoveWork, WorkError, WorkState
from tests.actors.gateways.policy_fixtures import (
    DEAD,
    DECLINED,
    FINAL,
    KEYS,
    LEASE_LOST,
    NEVER,
    NO_KEYS,
    NO_LOOKUPS,
    NONE,
    NOT_SENT,
    NOT_TRIED,
    PARKED,
    PENDING,
    QUEUED,
    REPEATS,
    RESOLVE,
    SENT,
    SUBMIT,
    UNHANDLED,
    UNKNOWN,
    work,
)
from tests.gateway_facts import WINDOW_S

# Action, attempts so far, result, policy -> next action, state, longest wait, attempts; None: closed.
# A wait of an answered lookup is exact; one after a failure to send is anything up to the figure (full jitter).
CASES: Final[list[tuple[Action, int, CallResult, RetryPolicy, tuple[Action, WorkState, float, int] | None]]] = [
    # final answers close the work, whatever was requested
    (SUBMIT, 0, FINAL, KEYS, None),
    (SUBMIT, 9, FINAL, NO_KEYS, None),
    (RESOLVE, 4, FINAL, KEYS, None),
    (SUBMIT, 0, DECLINED, KEYS, None),
    (RESOLVE, 0, DECLINED, NO_KEYS, None),
    # accepted and not final: the schedule of lookups, from its start after a sending
    (SUBMIT, 0, PENDING, KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (SUBMIT, 3, PENDING, NO_KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (RESOLVE, 0, PENDING, KEYS, (RESOLVE, QUEUED, 30.0, 1)),
    (RESOLVE, 1, PENDING, KEYS, (RESOLVE, QUEUED, 120.0, 2)),
    (RESOLVE, 2, PENDING, KEYS, (RESOLVE, QUEUED, DAY_S, 3)),
    (RESOLVE, 500, PENDING, KEYS, (RESOLVE, QUEUED, DAY_S, 501)),
    # never received: again at once, under the same key, or without a key when the first sending can have no effect
    (RESOLVE, 2, NEVER, KEYS, (SUBMIT, QUEUED, 0.0, 0)),
    (RESOLVE, 0, NEVER, NO_KEYS, (SUBMIT, QUEUED, 0.0, 0)),
    # surely not sent: a few quick retries, then a dead letter, then an operator; without keys as well
    (SUBMIT, 0, NOT_SENT, KEYS, (SUBMIT, QUEUED, 0.2, 1)),
    (SUBMIT, 1, NOT_SENT, NO_KEYS, (SUBMIT, QUEUED, 0.4, 2)),
    (SUBMIT, 2, NOT_SENT, KEYS, (SUBMIT, QUEUED, 0.8, 3)),
    (SUBMIT, 3, NOT_SENT, KEYS, (SUBMIT, DEAD, 10.0, 4)),
    (SUBMIT, 4, NOT_SENT, NO_KEYS, (SUBMIT, DEAD, 20.0, 5)),
    (SUBMIT, 6, NOT_SENT, KEYS, (SUBMIT, DEAD, 80.0, 7)),
    (SUBMIT, 7, NOT_SENT, KEYS, (SUBMIT, DEAD, 100.0, 8)),
    (SUBMIT, 8, NOT_SENT, KEYS, (SUBMIT, PARKED, 100.0, 9)),
    (SUBMIT, 10_000, NOT_SENT, KEYS, (SUBMIT, PARKED, 100.0, 10_001)),
    # may have acted: a few times the same under the same key, then only a lookup may follow
    (SUBMIT, 0, UNKNOWN, KEYS, (SUBMIT, QUEUED, 0.2, 1)),
    (SUBMIT, 2, UNKNOWN, KEYS, (SUBMIT, QUEUED, 0.8, 3)),
    (SUBMIT, 3, UNKNOWN, KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (SUBMIT, 8, UNKNOWN, KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (SUBMIT, 3, UNKNOWN, REPEATS, (RESOLVE, QUEUED, 5.0, 0)),
    # with keys and without any lookup: the same under the same key, as a dead letter
    (SUBMIT, 3, UNKNOWN, NO_LOOKUPS, (SUBMIT, DEAD, 10.0, 4)),
    # without keys only a lookup may follow
    (SUBMIT, 0, UNKNOWN, NO_KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    (SUBMIT, 7, UNKNOWN, NO_KEYS, (RESOLVE, QUEUED, 5.0, 0)),
    # a lookup that failed is looked up again, and never gives up
    (RESOLVE, 0, NOT_SENT, KEYS, (RESOLVE, QUEUED, 30.0, 1)),
    (RESOLVE, 1, UNKNOWN, NO_KEYS, (RESOLVE, QUEUED, 120.0, 2)),
    (RESOLVE, 0, UNKNOWN, KEYS, (RESOLVE, QUEUED, 30.0, 1)),
    (RESOLVE, 2, UNKNOWN, KEYS, (RESOLVE, DEAD, DAY_S, 3)),
    (RESOLVE, 10_000, UNKNOWN, KEYS, (RESOLVE, DEAD, DAY_S, 10_001)),
    # not tried: as it was, at once, and no attempt
    (SUBMIT, 0, NOT_TRIED, NO_KEYS, (SUBMIT, QUEUED, 0.0, 0)),
    (SUBMIT, 7, NOT_TRIED, NO_KEYS, (SUBMIT, QUEUED, 0.0, 7)),
    (RESOLVE, 3, NOT_TRIED, KEYS, (RESOLVE, QUEUED, 0.0, 3)),
    # no handler: parked for an operator at once
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
    policy: RetryPolicy,
    expected: tuple[Action, WorkState, float, int] | None,
    chance: float,
) -> None:
    """Each action, result and number of attempts has the next step of the table, within its longest delay."""
    step = next_step(work(action, attempts), result, policy, now=EPOCH, chance=chance)
    if expected is None:
        assert step == CloseWork("t-1")
        return
    assert isinstance(step, MoveWork)
    next_action, state, wait_s, next_attempts = expected
    assert (step.action, step.state, step.attempts) == (next_action, state, next_attempts)
    spread = next_action is SUBMIT and wait_s > 0
    assert step.delay_s == pytest.approx(wait_s * (chance if spread else 1.0))


@pytest.mark.parametrize(
    ("certainty", "status", "attempts", "looked_up"),
    [
        (NONE, Status.PENDING, 3, False),
        (NONE, Status.PENDING, 50, False),
        (NONE, Status.UNKNOWN, 2, False),
        (NONE, Status.UNKNOWN, 3, True),
        (LEASE_LOST, Status.PENDING, 3, True),
        (SENT, Status.UNKNOWN, 2, False),
        (SENT, Status.UNKNOWN, 3, True),
        (SENT, Status.UNKNOWN, 50, True),
    ],
)
@pytest.mark.parametrize("result", [NOT_SENT])
def test_with_keys_a_doubt_is_looked_up_after_the_retries(
    result: CallResult, certainty: DeliveryCertainty, status: Status, attempts: int, *, looked_up: bool
) -> None:
    """What was surely never sent goes on as a dead letter. What may have arrived is looked up, however it fails."""
    item = work(SUBMIT, attempts, certainty=certainty)
    step = next_step(item, result, KEYS, now=EPOCH, chance=0.5, status=status)
    assert isinstance(step, MoveWork)
    assert step.action is (RESOLVE if looked_up else SUBMIT)
    assert not looked_up or (step.state, step.delay_s, step.attempts, step.certainty) == (QUEUED, 5.0, 0, SENT)


def test_with_keys_only_never_received_leads_back_to_a_sending() -> None:
    """A provider that stays silent gets a first sending, ``max_retries`` more, and then lookups, however long."""
    item, actions = work(status=Status.UNKNOWN), []
    for _ in range(12):
        step = next_step(item, UNKNOWN, KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN)
        assert isinstance(step, MoveWork)
        actions.append(step.action)
        item = replace(item, action=step.action, attempts=step.attempts, certainty=step.certainty)
    assert actions == [SUBMIT] * 3 + [RESOLVE] * 9
    again = next_step(item, NEVER, KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN)
    assert isinstance(again, MoveWork)
    assert (again.action, again.attempts, again.delay_s) == (SUBMIT, 0, 0.0)


def test_the_guarantees_are_those_of_the_kind_of_work() -> None:
    """A refund without keys is looked up, where a deposit of the same gateway is sent again under its key."""
    facts = {Kind.DEPOSIT: OperationFacts(key_window_s=WINDOW_S), Kind.REFUND: OperationFacts(not_found_after_s=90.0)}
    policy = replace(KEYS, operations=facts, settle_s=65.0)
    deposit, refund = work(), work(event_type="RefundReceived")
    capture = work(event_type="CaptureReceived")
    for item, action in ((deposit, SUBMIT), (refund, RESOLVE), (capture, RESOLVE)):
        step = next_step(item, UNKNOWN, policy, now=EPOCH, chance=0.5, status=Status.UNKNOWN)
        assert isinstance(step, MoveWork)
        assert step.action is action
    assert [policy.settles_after_s(item) for item in (deposit, refund, capture)] == [65.0, 90.0, 65.0]
    assert [policy.records_first(item) for item in (deposit, refund, capture)] == [False, True, False]


@pytest.mark.parametrize("status", [Status.PROCESSED, Status.AUTHORIZED])
@pytest.mark.parametrize("result", [NEVER, NOT_SENT, UNKNOWN])
@pytest.mark.parametrize("policy", [KEYS, NO_KEYS, NO_LOOKUPS, REPEATS])
@pytest.mark.parametrize("action", [SUBMIT, RESOLVE])
def test_what_was_accepted_already_is_only_looked_up(
    action: Action, policy: RetryPolicy, result: CallResult, status: Status
) -> None:
    """Whatever a call of it results in, nothing is sent again after the gateway accepted it."""
    step = next_step(work(action, 0), result, policy, now=EPOCH, chance=0.5, status=status)
    assert isinstance(step, MoveWork)
    assert step.action is RESOLVE


def test_what_is_processed_already_is_never_sent_again() -> None:
    """A provider that accepted and now reports "never received" is looked up again, not paid again."""
    step = next_step(work(RESOLVE, 0), NEVER, KEYS, now=EPOCH, chance=0.5, status=Status.PROCESSED)
    assert isinstance(step, MoveWork)
    assert step.action is RESOLVE


def test_each_failure_is_kept_within_bounds() -> None:
    """The newest errors are kept, each cut to a bounded length, and an answer adds none."""
    errors = tuple(WorkError(EPOCH, str(number)) for number in range(ERRORS_KEPT))
    later = EPOCH + timedelta(days=1)
    step = next_step(work(errors=errors), NotSent("x" * 10_000), KEYS, now=later, chance=0.0)
    assert isinstance(step, MoveWork)
    assert step.errors == (*errors[1:], WorkError(later, "x" * ERROR_LENGTH_MAX))
    answered = next_step(work(errors=errors), PENDING, KEYS, now=later, chance=0.0)
    assert isinstance(answered, MoveWork)
    assert answered.errors == errors


def test_work_without_a_transaction_is_parked_in_the_end() -> None:
    """Work without a transaction runs through retries and dead letters and is parked at the end."""
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
def test_nothing_is_sent_after_the_end(status: Status, result: CallResult, action: Action) -> None:
    """The work of a completed or failed transaction ends, whatever the provider reports."""
    assert next_step(work(action), result, KEYS, now=EPOCH, chance=0.5, status=status) == CloseWork("t-1")


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
    """Without keys it is looked up again, at the latest when the delay is over; it is not sent."""
    item = work(RESOLVE, attempts, certainty=SENT)
    step = next_step(item, NEVER, NO_KEYS, now=EPOCH, chance=0.5, status=status, settlement_left_s=left_s)
    assert isinstance(step, MoveWork)
    assert (step.action, step.state, step.delay_s, step.certainty) == (RESOLVE, QUEUED, delay_s, SENT)


def test_with_keys_there_is_no_settlement_delay() -> None:
    """Under the same key a late arrival is one effect."""
    step = next_step(work(RESOLVE), NEVER, KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN, settlement_left_s=60.0)
    assert isinstance(step, MoveWork)
    assert step.action is SUBMIT


@pytest.mark.parametrize("left_s", [0.0, 60.0])
@pytest.mark.parametrize("policy", [KEYS, NO_KEYS])
def test_what_was_accepted_is_never_sent_again(policy: RetryPolicy, left_s: float) -> None:
    """A provider that accepted and then reports "never received" contradicts itself: the error is kept."""
    item = work(RESOLVE, 1, certainty=SENT)
    step = next_step(item, NEVER, policy, now=EPOCH, chance=0.5, status=Status.PROCESSED, settlement_left_s=left_s)
    assert isinstance(step, MoveWork)
    assert (step.action, step.delay_s, len(step.errors)) == (RESOLVE, 120.0, 1)


@pytest.mark.parametrize("policy", [KEYS, NO_KEYS])
@pytest.mark.parametrize("certainty", DeliveryCertainty)
@pytest.mark.parametrize("action", Action)
def test_work_without_a_handler_is_parked_with_its_error(
    action: Action, certainty: DeliveryCertainty, policy: RetryPolicy
) -> None:
    """Parked at once with the reason, and otherwise unchanged."""
    item = work(action, 4, certainty=certainty)
    step = next_step(item, UNHANDLED, policy, now=EPOCH, chance=0.5, status=Status.PENDING)
    errors = (WorkError(EPOCH, UNHANDLED.reason),)
    assert step == MoveWork("t-1", action, PARKED, 0.0, 4, errors, certainty)


@pytest.mark.parametrize("left_s", [10.0, 1000.0])
@pytest.mark.parametrize("attempts", [0, 1, 2, 9])
def test_a_lookup_that_comes_early_does_not_use_up_the_schedule(attempts: int, left_s: float) -> None:
    """A lookup before the delay is over is additional, so that it does not lead to daily lookups."""
    item = work(RESOLVE, attempts, certainty=SENT)
    plain = next_step(item, UNKNOWN, NO_KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN)
    step = next_step(item, NEVER, NO_KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN, settlement_left_s=left_s)
    assert isinstance(step, MoveWork)
    assert isinstance(plain, MoveWork)
    assert (step.delay_s, step.attempts) == min((left_s, attempts), (plain.delay_s, plain.attempts))
