"""The delivery certainty after each result, what may be discarded, and a day without an answer."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import Final

import pytest

from actors.gateways.retry_policy import DAY_S, next_step, ran_a_day
from actors.messages import CallResult
from actors.runtime.simulated import EPOCH
from domain.account import Status
from store.port import Action, DeliveryCertainty, MoveWork
from tests.actors.gateways.policy_fixtures import (
    DECLINED,
    FINAL,
    KEYS,
    LEASE_LOST,
    NEVER,
    NO_KEYS,
    NONE,
    NOT_SENT,
    NOT_TRIED,
    PENDING,
    RESOLVE,
    SENT,
    SUBMIT,
    UNHANDLED,
    UNKNOWN,
    work,
)

# Action, certainty before, result, with keys, status afterwards -> certainty afterwards; None: closed.
DOUBTS: Final[list[tuple[Action, DeliveryCertainty, CallResult, bool, Status, DeliveryCertainty | None]]] = [
    # sent, and it may have arrived
    (SUBMIT, NONE, UNKNOWN, True, Status.UNKNOWN, SENT),
    (SUBMIT, LEASE_LOST, UNKNOWN, True, Status.UNKNOWN, SENT),
    (SUBMIT, SENT, UNKNOWN, False, Status.UNKNOWN, SENT),
    (SUBMIT, NONE, UNKNOWN, False, Status.UNKNOWN, SENT),
    # it did arrive
    (SUBMIT, NONE, PENDING, True, Status.PROCESSED, SENT),
    (SUBMIT, SENT, PENDING, False, Status.PROCESSED, SENT),
    # surely not sent this time: with keys this proves nothing about earlier attempts, without keys there were none
    (SUBMIT, NONE, NOT_SENT, True, Status.PENDING, NONE),
    (SUBMIT, LEASE_LOST, NOT_SENT, True, Status.PENDING, LEASE_LOST),
    (SUBMIT, SENT, NOT_SENT, True, Status.UNKNOWN, SENT),
    (SUBMIT, SENT, NOT_SENT, False, Status.PENDING, NONE),
    (SUBMIT, LEASE_LOST, NOT_SENT, False, Status.PENDING, NONE),
    (SUBMIT, NONE, NOT_TRIED, True, Status.PENDING, NONE),
    (SUBMIT, SENT, NOT_TRIED, True, Status.UNKNOWN, SENT),
    (SUBMIT, SENT, NOT_TRIED, False, Status.PENDING, NONE),
    (SUBMIT, SENT, NOT_TRIED, False, Status.UNKNOWN, NONE),
    # a lookup that could not be made or had no answer proves nothing about what was sent
    (RESOLVE, SENT, NOT_SENT, False, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, NOT_TRIED, False, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, UNKNOWN, False, Status.UNKNOWN, SENT),
    (RESOLVE, LEASE_LOST, UNKNOWN, True, Status.UNKNOWN, LEASE_LOST),
    (RESOLVE, SENT, PENDING, False, Status.PROCESSED, SENT),
    # it never arrived; with keys it is sent under the same one again, so it may not be discarded
    (RESOLVE, SENT, NEVER, False, Status.UNKNOWN, NONE),
    (RESOLVE, SENT, NEVER, True, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, NEVER, False, Status.PROCESSED, SENT),
    # no lookup was made
    (SUBMIT, NONE, UNHANDLED, True, Status.PENDING, NONE),
    (SUBMIT, LEASE_LOST, UNHANDLED, True, Status.PENDING, LEASE_LOST),
    (SUBMIT, SENT, UNHANDLED, False, Status.UNKNOWN, SENT),
    (RESOLVE, SENT, UNHANDLED, False, Status.UNKNOWN, SENT),
    # the end
    (SUBMIT, SENT, FINAL, False, Status.COMPLETED, None),
    (RESOLVE, SENT, DECLINED, True, Status.FAILED, None),
]


@pytest.mark.parametrize(("action", "before", "result", "keys", "status", "after"), DOUBTS)
def test_every_certainty(
    *,
    action: Action,
    before: DeliveryCertainty,
    result: CallResult,
    keys: bool,
    status: Status,
    after: DeliveryCertainty | None,
) -> None:
    """The certainty after each result; one too low would permit a discard that falsifies the record."""
    item = work(action, certainty=before)
    step = next_step(item, result, KEYS if keys else NO_KEYS, now=EPOCH, chance=0.5, status=status)
    assert (step.certainty if isinstance(step, MoveWork) else None) is after


@pytest.mark.parametrize("attempts", range(12))
@pytest.mark.parametrize("certainty", DeliveryCertainty)
@pytest.mark.parametrize("status", [Status.PENDING, Status.UNKNOWN])
@pytest.mark.parametrize("result", [NOT_SENT, UNKNOWN])
def test_with_keys_certainty_never_decreases(
    status: Status, result: CallResult, certainty: DeliveryCertainty, attempts: int
) -> None:
    """However often it fails, also when it changes from submission to lookup."""
    step = next_step(work(SUBMIT, attempts, certainty=certainty), result, KEYS, now=EPOCH, chance=0.5, status=status)
    assert isinstance(step, MoveWork)
    assert step.certainty >= certainty


@pytest.mark.parametrize(
    ("action", "certainty", "keys", "discardable"),
    [
        (SUBMIT, NONE, True, True),
        (SUBMIT, LEASE_LOST, True, False),
        (SUBMIT, SENT, True, False),
        (SUBMIT, NONE, False, True),
        (SUBMIT, LEASE_LOST, False, True),
        (SUBMIT, SENT, False, False),
        *[(RESOLVE, certainty, keys, False) for certainty in DeliveryCertainty for keys in (True, False)],
    ],
)
def test_what_may_be_discarded(action: Action, certainty: DeliveryCertainty, *, keys: bool, discardable: bool) -> None:
    """Only work that was certainly never sent; without keys a lost lease alone leaves no doubt."""
    assert (KEYS if keys else NO_KEYS).discardable(work(action, certainty=certainty)) is discardable


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
def test_a_day_without_an_answer(
    after: timedelta, attempts: int, status: Status, result: CallResult, *, ran: bool
) -> None:
    """A day after the last event, a lookup without an answer opens a review, however many there were."""
    assert ran_a_day(work(RESOLVE, attempts), result, EPOCH + after, status=status) is ran


@pytest.mark.parametrize("result", [FINAL, PENDING, DECLINED, NOT_TRIED, UNHANDLED])
def test_an_answer_is_no_day_without_one(result: CallResult) -> None:
    """No review opens after any report of the gateway, also "processing", nor when no call was made."""
    assert not ran_a_day(work(RESOLVE), result, EPOCH + 3 * DAY, status=Status.UNKNOWN)


def test_submissions_are_no_lookups() -> None:
    """A submission is no lookup, however old; and without a transaction there is nothing to review."""
    assert not ran_a_day(work(SUBMIT), UNKNOWN, EPOCH + 3 * DAY, status=Status.UNKNOWN)
    assert not ran_a_day(work(RESOLVE, transaction=None), UNKNOWN, EPOCH + 3 * DAY, status=Status.UNKNOWN)


@pytest.mark.parametrize(("status", "ran"), [(Status.UNKNOWN, False), (Status.PROCESSED, True)])
def test_never_received_is_an_answer_unless_it_was_accepted(status: Status, *, ran: bool) -> None:
    """A re-send needs no review; a transaction that was accepted and then never received does."""
    assert ran_a_day(work(RESOLVE, 3), NEVER, EPOCH + DAY, status=status) is ran


@pytest.mark.parametrize("settlement_left_s", [0.1, inf])
@pytest.mark.parametrize(("after", "ran"), [(DAY - timedelta(seconds=1), False), (DAY, True)])
def test_never_received_that_does_not_count_is_no_answer(
    after: timedelta, settlement_left_s: float, *, ran: bool
) -> None:
    """It leads to no re-send, so that without a review the lookups would continue without limit."""
    item = work(RESOLVE, 3)
    assert ran_a_day(item, NEVER, EPOCH + after, status=Status.UNKNOWN, settlement_left_s=settlement_left_s) is ran


def test_never_received_that_will_never_count_follows_the_schedule() -> None:
    """With an infinite delay lookups follow the schedule, and nothing is sent."""
    for attempts in range(6):
        item = work(RESOLVE, attempts, certainty=SENT)
        step = next_step(item, NEVER, NO_KEYS, now=EPOCH, chance=0.5, status=Status.UNKNOWN, settlement_left_s=inf)
        assert isinstance(step, MoveWork)
        assert (step.action, step.attempts, step.certainty) == (RESOLVE, attempts + 1, SENT)
        assert step.delay_s <= DAY_S
