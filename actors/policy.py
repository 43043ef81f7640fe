"""What becomes of a piece of work after a call: done, again, later, a dead letter. Pure decisions, tested as tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from actors.messages import CallResult, NotSent
from domain.account import TERMINAL, Status
from domain.outcomes import Approved, Declined, NotReceived, Unknown
from store.port import Action, CloseWork, MoveWork, WorkError, WorkItem, WorkState

DAY_S: Final = 86_400.0
ERRORS_KEPT: Final = 20
"""The newest errors of a piece of work that are kept."""
ERROR_LENGTH_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """How one gateway's work is retried and looked up; durations in seconds (contract.md, section 2)."""

    honours_keys: bool
    max_retries: int
    lookup_after_s: tuple[float, ...]
    dead_letter_first_s: float
    dead_letter_max_s: float
    dead_letter_attempts: int
    retry_first_s: float = 0.2
    retry_max_s: float = 5.0


def next_step(
    item: WorkItem,
    result: CallResult,
    policy: WorkPolicy,
    *,
    now: datetime,
    chance: float,
    status: Status | None = None,
) -> MoveWork | CloseWork:
    """What is next after ``result``; ``chance`` in [0, 1) spreads the waits.

    ``status`` is the transaction's after ``result`` was recorded, None when it was not.
    """
    if status in TERMINAL or (status is None and _final(result)):  # nothing is sent for what has its end
        return CloseWork(item.work_id)
    match result:
        case Approved(final=True) | Declined():
            # The answer contradicts the record: a review is open, and the transaction still has no end.
            return _look_up_again(item, policy, _with_error(item, now, "the answer contradicts the record"))
        case Approved():
            if item.action is Action.SUBMIT:  # accepted, and the final word is to come: the schedule starts anew
                return _move(item, Action.RESOLVE, policy.lookup_after_s[0], attempts=0)
            return _look_up_again(item, policy)
        case NotReceived():
            if policy.honours_keys and status is not Status.PROCESSED:
                return _move(item, Action.SUBMIT, 0.0, attempts=0)
            return _look_up_again(item, policy, _with_error(item, now, "the gateway says that it never received it"))
        case NotSent(reason=reason) | Unknown(reason=reason):
            errors = _with_error(item, now, reason)
            if item.action is Action.RESOLVE:
                return _look_up_again(item, policy, errors)
            doubtful = isinstance(result, Unknown) or status is Status.UNKNOWN
            if isinstance(result, Unknown) and not policy.honours_keys:
                return _move(item, Action.RESOLVE, policy.lookup_after_s[0], attempts=0, errors=errors)
            return _send_again(item, policy, chance, errors, doubtful=doubtful)
        case _:
            assert_never(result)


def _final(result: CallResult) -> bool:
    return isinstance(result, Declined) or (isinstance(result, Approved) and result.final)


def _send_again(
    item: WorkItem, policy: WorkPolicy, chance: float, errors: tuple[WorkError, ...], *, doubtful: bool
) -> MoveWork:
    """A few quick retries, then a dead letter with growing waits (full jitter, AWS 2015), then a person.

    ``doubtful``: the money may have moved. That is never left to rest, but looked up once a day at the least.
    """
    attempts = item.attempts + 1
    dead = attempts - policy.max_retries
    if dead > policy.dead_letter_attempts and doubtful:
        return _move(item, Action.RESOLVE, DAY_S, attempts=len(policy.lookup_after_s), errors=errors)
    if dead <= 0:
        state, ceiling_s = WorkState.QUEUED, min(policy.retry_max_s, policy.retry_first_s * 2 ** (attempts - 1))
    else:
        state = WorkState.DEAD if dead <= policy.dead_letter_attempts else WorkState.PARKED
        ceiling_s = min(policy.dead_letter_max_s, policy.dead_letter_first_s * 2 ** min(dead - 1, 60))
    return _move(item, Action.SUBMIT, ceiling_s * chance, attempts=attempts, errors=errors, state=state)


def _look_up_again(item: WorkItem, policy: WorkPolicy, errors: tuple[WorkError, ...] | None = None) -> MoveWork:
    attempts = item.attempts + 1
    waits = policy.lookup_after_s
    delay_s = waits[attempts] if attempts < len(waits) else DAY_S
    return _move(item, Action.RESOLVE, delay_s, attempts=attempts, errors=errors)


def _move(
    item: WorkItem,
    action: Action,
    delay_s: float,
    *,
    attempts: int,
    errors: tuple[WorkError, ...] | None = None,
    state: WorkState = WorkState.QUEUED,
) -> MoveWork:
    return MoveWork(item.work_id, action, state, delay_s, attempts, item.errors if errors is None else errors)


def _with_error(item: WorkItem, now: datetime, error: str) -> tuple[WorkError, ...]:
    """The newest errors of the work, this one included."""
    return (*item.errors, WorkError(now, error[:ERROR_LENGTH_MAX]))[-ERRORS_KEPT:]
