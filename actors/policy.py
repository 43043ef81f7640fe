"""What becomes of a piece of work after a call: done, again, later, a dead letter. Pure decisions, tested as tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from actors.messages import CallResult, NotSent
from domain.account import Status
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
    idempotency_window_s: float
    max_retries: int
    lookup_after_s: tuple[float, ...]
    dead_letter_first_s: float
    dead_letter_max_s: float
    dead_letter_attempts: int
    retry_first_s: float = 0.2
    retry_max_s: float = 5.0


def next_step(
    item: WorkItem, result: CallResult, policy: WorkPolicy, *, now: datetime, chance: float
) -> MoveWork | CloseWork:
    """What is next after ``result``; ``chance`` in [0, 1) spreads the waits."""
    match result:
        case Approved(final=True) | Declined():
            return CloseWork(item.work_id)
        case Approved():
            if item.action is Action.SUBMIT:  # accepted, and the final word is to come: the schedule starts anew
                return _move(item, Action.RESOLVE, policy.lookup_after_s[0], attempts=0)
            return _look_up_again(item, policy)
        case NotReceived():
            transaction = item.transaction
            asked_again = policy.honours_keys and (transaction is None or transaction.status is not Status.PROCESSED)
            if asked_again and not _window_over(item, policy, now):
                return _move(item, Action.SUBMIT, 0.0, attempts=0)
            return _look_up_again(item, policy, now, "the gateway says that it never received it")
        case NotSent(reason=reason) | Unknown(reason=reason):
            if item.action is Action.RESOLVE:
                return _look_up_again(item, policy, now, reason)
            may_have_acted = isinstance(result, Unknown)
            if may_have_acted and (not policy.honours_keys or _window_over(item, policy, now)):
                return _move(item, Action.RESOLVE, policy.lookup_after_s[0], 0, now, reason)
            return _send_again(item, policy, now, chance, reason)
        case _:
            assert_never(result)


def _window_over(item: WorkItem, policy: WorkPolicy, now: datetime) -> bool:
    """Whether the provider may have forgotten the key by now."""
    if item.transaction is None:
        return False
    return now - item.transaction.created_at > timedelta(seconds=policy.idempotency_window_s)


def _send_again(item: WorkItem, policy: WorkPolicy, now: datetime, chance: float, reason: str) -> MoveWork:
    """A few quick retries, then a dead letter with growing waits, then a person (full jitter, AWS 2015)."""
    attempts = item.attempts + 1
    if attempts <= policy.max_retries:
        state, ceiling_s = WorkState.QUEUED, min(policy.retry_max_s, policy.retry_first_s * 2 ** (attempts - 1))
    else:
        dead = attempts - policy.max_retries
        state = WorkState.DEAD if dead <= policy.dead_letter_attempts else WorkState.PARKED
        ceiling_s = min(policy.dead_letter_max_s, policy.dead_letter_first_s * 2 ** min(dead - 1, 60))
    return _move(item, Action.SUBMIT, ceiling_s * chance, attempts, now, reason, state)


def _look_up_again(
    item: WorkItem, policy: WorkPolicy, now: datetime | None = None, reason: str | None = None
) -> MoveWork:
    attempts = item.attempts + 1
    waits = policy.lookup_after_s
    return _move(item, Action.RESOLVE, waits[attempts] if attempts < len(waits) else DAY_S, attempts, now, reason)


def _move(
    item: WorkItem,
    action: Action,
    delay_s: float,
    attempts: int,
    now: datetime | None = None,
    error: str | None = None,
    state: WorkState = WorkState.QUEUED,
) -> MoveWork:
    errors = item.errors
    if now is not None and error is not None:
        errors = (*errors, WorkError(now, error[:ERROR_LENGTH_MAX]))[-ERRORS_KEPT:]
    return MoveWork(item.work_id, action, state, delay_s, attempts, errors)
