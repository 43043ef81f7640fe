"""The next step of a piece of work after a call: done, retry, lookup, dead letter. Pure, and tested as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from actors.messages import CallResult, NotSent, NotTried, Unhandled
from domain.account import TERMINAL, Status
from domain.events import EVENT_TYPES, Kind
from domain.outcomes import Approved, Authorization, Declined, NotReceived, Unknown
from domain.values import value
from gateways.port import LookupMeans, OperationFacts
from store.port import Action, CloseWork, DeliveryCertainty, MoveWork, WorkError, WorkItem, WorkState

DAY_S: Final = 86_400.0
AUTHORIZATION_EXPIRES_S: Final = 7 * DAY_S
ERRORS_KEPT: Final = 20
"""The newest errors of a piece of work that are kept."""
ERROR_LENGTH_MAX: Final = 500
_ACCEPTED: Final = frozenset({Status.PROCESSED, Status.AUTHORIZED})
"""Statuses of transactions that the gateway accepted: "never received" contradicts them, and nothing is sent again."""


@value(frozen=True, slots=True)
class RetryPolicy:
    """How one gateway's work is retried and looked up, from its settings; durations in seconds.

    ``operations`` are the gateway's guarantees (``gateways.port.Gateway``), which differ by the kind of the work.
    Without keys, ``settle_s`` is the time after the sender's report in which a lookup without a result proves nothing.
    ``permit_s`` is the time after recording a submission in which the sender may begin to send it.
    """

    operations: Mapping[Kind, OperationFacts]
    max_retries: int
    lookup_after_s: tuple[float, ...]
    dead_letter_first_s: float
    dead_letter_max_s: float
    dead_letter_attempts: int
    settle_s: float = 0.0
    permit_s: float = 0.0
    retry_first_s: float = 0.2
    retry_max_s: float = 5.0
    authorization_expires_s: float = AUTHORIZATION_EXPIRES_S
    """How long a hold lasts when the gateway does not report its end."""

    def hold_lookup_s(self, held_s: float) -> float:
        """When to look up an authorization whose hold ends in ``held_s`` (not above 0: it should have ended)."""
        # Not later than a hold usually takes: the provider's report, or a clock, may be wrong.
        return min(held_s, self.authorization_expires_s) if held_s > 0 else DAY_S

    def facts(self, item: WorkItem) -> OperationFacts | None:
        """The gateway's guarantees about ``item``; None when it does not support the operation."""
        _, kind = EVENT_TYPES.get(item.event_type, (None, None))
        return None if kind is None else self.operations.get(kind)

    def honours_keys(self, item: WorkItem) -> bool:
        """Whether ``item`` is sent under an idempotency key."""
        facts = self.facts(item)
        return facts is not None and facts.honours_keys

    def records_first(self, item: WorkItem) -> bool:
        """Whether ``item`` is on record before each sending, because the gateway knows no keys for it."""
        facts = self.facts(item)
        return facts is not None and not facts.honours_keys

    def looks_up(self, item: WorkItem) -> bool:
        """Whether the gateway can report what became of ``item``."""
        facts = self.facts(item)
        return facts is not None and facts.lookup is not LookupMeans.NONE

    def settles_after_s(self, item: WorkItem) -> float:
        """The time after the sender's report in which "never received" proves nothing of ``item``, without keys."""
        facts = self.facts(item)
        return self.settle_s if facts is None else max(self.settle_s, facts.not_found_after_s)

    def discardable(self, item: WorkItem) -> bool:
        """Whether it is certain that no attempt at ``item`` reached the gateway."""
        # Without keys nothing is sent before it is on record, so a lost lease alone leaves no doubt.
        return item.action is Action.SUBMIT and item.certainty <= (
            DeliveryCertainty.LEASE_LOST if self.records_first(item) else DeliveryCertainty.NOT_SENT
        )


def next_step(
    item: WorkItem,
    result: CallResult,
    policy: RetryPolicy,
    *,
    now: datetime,
    chance: float,
    status: Status | None = None,
    settlement_left_s: float = 0.0,
    held_s: float = 0.0,
) -> MoveWork | CloseWork:
    """The next step after ``result``; ``chance`` in [0, 1) spreads the delays.

    ``status`` is that of the transaction after ``result`` was recorded, None when it was not. ``settlement_left_s``:
    for so long the gateway may still receive what it reports as never received. An authorized transaction is looked
    up at the end of its hold, in ``held_s``, and then daily.
    """
    if status in TERMINAL or (status is None and _final(result)):  # nothing is sent after the end of a transaction
        return CloseWork(item.work_id)
    answered = isinstance(result, Approved | Authorization | Declined)
    if status is Status.AUTHORIZED and (answered or item.action is Action.SUBMIT):
        delay_s, sent = policy.hold_lookup_s(held_s), DeliveryCertainty.SENT
        return _move(item, Action.RESOLVE, delay_s, attempts=0, certainty=sent)  # a failed one begins the schedule
    match result:
        case Approved(final=True) | Declined():
            # The answer contradicts the record: a review is open, and the transaction is still unfinished.
            return _look_up_again(item, policy, _with_error(item, now, "the answer contradicts the record"))
        case Approved() | Authorization():
            if item.action is Action.SUBMIT:  # accepted, the final status is to come: the schedule starts again
                return _look_up_first(item, policy)
            return _look_up_again(item, policy)
        case NotReceived():
            return _not_received(item, policy, now, status, settlement_left_s)
        case Unhandled(reason=reason):
            errors = _with_error(item, now, reason)
            return _move(item, item.action, 0.0, attempts=item.attempts, errors=errors, state=WorkState.PARKED)
        case NotTried():
            return _move(item, item.action, 0.0, attempts=item.attempts, certainty=_certainty_unsent(item, policy))
        case NotSent() | Unknown():
            return _failed(item, result, policy, _with_error(item, now, result.reason), chance=chance, status=status)
        case _:
            assert_never(result)


def ran_a_day(
    item: WorkItem, result: CallResult, now: datetime, *, status: Status, settlement_left_s: float = 0.0
) -> bool:
    """Whether a day of lookups, this one included, has not found the outcome of the item's transaction.

    ``status`` is that of the transaction. "Never received" is an answer, if it counts and was not accepted before.
    """
    if item.transaction is None or item.action is not Action.RESOLVE:
        return False
    silent = isinstance(result, NotSent | Unknown)
    if isinstance(result, NotReceived):
        silent = status in _ACCEPTED or settlement_left_s > 0
    since = item.transaction.updated_at
    if status is Status.AUTHORIZED:  # before the end of the hold nothing is expected of the gateway
        since = max(since, item.transaction.authorization_expires_at or since)
    return silent and now - since >= timedelta(seconds=DAY_S)


def _final(result: CallResult) -> bool:
    """Whether nothing can follow ``result``, whatever is on record. An authorization is followed by its end."""
    return isinstance(result, Declined) or (isinstance(result, Approved) and result.final)


def _certainty_unsent(item: WorkItem, policy: RetryPolicy) -> DeliveryCertainty:
    """The certainty when the newest attempt was not sent: without keys there is no other attempt in doubt."""
    alone = item.action is Action.SUBMIT and policy.records_first(item)
    return DeliveryCertainty.NOT_SENT if alone else item.certainty


def _not_received(
    item: WorkItem, policy: RetryPolicy, now: datetime, status: Status | None, settlement_left_s: float
) -> MoveWork:
    if status in _ACCEPTED:
        return _look_up_again(item, policy, _with_error(item, now, "the gateway says that it never received it"))
    if policy.honours_keys(item):
        return _move(item, Action.SUBMIT, 0.0, attempts=0)
    if settlement_left_s > 0:
        again = _look_up_again(item, policy)
        if again.delay_s <= settlement_left_s:
            return again
        return replace(again, delay_s=settlement_left_s, attempts=item.attempts)  # in addition to the schedule
    return _move(item, Action.SUBMIT, 0.0, attempts=0, certainty=DeliveryCertainty.NOT_SENT)


def _failed(
    item: WorkItem,
    result: NotSent | Unknown,
    policy: RetryPolicy,
    errors: tuple[WorkError, ...],
    *,
    chance: float,
    status: Status | None,
) -> MoveWork:
    if item.action is Action.RESOLVE:
        return _look_up_again(item, policy, errors)
    if status in _ACCEPTED:  # by a callback that came while this call failed
        return _look_up_first(item, policy, errors)
    if isinstance(result, NotSent):
        certainty = _certainty_unsent(item, policy)
        doubtful = status is Status.UNKNOWN or certainty is not DeliveryCertainty.NOT_SENT
    else:
        certainty, doubtful = DeliveryCertainty.SENT, True
        if not policy.honours_keys(item):  # another sending could be another payment
            return _look_up_first(item, policy, errors)
    # Under a key: after so many attempts only a lookup can tell whether the provider has it. Without keys a lookup has
    # settled the doubt before this attempt.
    answerable = policy.honours_keys(item) and policy.looks_up(item)
    if doubtful and answerable and item.attempts >= policy.max_retries:
        return _look_up_first(item, policy, errors)
    return _send_again(item, policy, chance, errors, certainty, doubtful=doubtful)


def _send_again(
    item: WorkItem,
    policy: RetryPolicy,
    chance: float,
    errors: tuple[WorkError, ...],
    certainty: DeliveryCertainty,
    *,
    doubtful: bool,
) -> MoveWork:
    """A few quick retries, then a dead letter with growing delays (full jitter, AWS 2015), then an operator.

    ``doubtful``: the money may have moved. Such work is never parked, but looked up once a day at least.
    """
    attempts = item.attempts + 1
    dead = attempts - policy.max_retries
    if dead > policy.dead_letter_attempts and doubtful:
        attempts = len(policy.lookup_after_s)
        state = WorkState.DEAD
        return _move(item, Action.RESOLVE, DAY_S, attempts=attempts, errors=errors, state=state, certainty=certainty)
    if dead <= 0:
        state, ceiling_s = WorkState.QUEUED, min(policy.retry_max_s, policy.retry_first_s * 2 ** (attempts - 1))
    else:
        state = WorkState.DEAD if dead <= policy.dead_letter_attempts else WorkState.PARKED
        ceiling_s = min(policy.dead_letter_max_s, policy.dead_letter_first_s * 2 ** min(dead - 1, 60))
    delay_s = ceiling_s * chance
    return _move(item, Action.SUBMIT, delay_s, attempts=attempts, errors=errors, state=state, certainty=certainty)


def _look_up_first(item: WorkItem, policy: RetryPolicy, errors: tuple[WorkError, ...] | None = None) -> MoveWork:
    """Begin the schedule of lookups after a submission."""
    delay_s = policy.lookup_after_s[0]
    return _move(item, Action.RESOLVE, delay_s, attempts=0, errors=errors, certainty=DeliveryCertainty.SENT)


def _look_up_again(item: WorkItem, policy: RetryPolicy, errors: tuple[WorkError, ...] | None = None) -> MoveWork:
    """The next lookup of the schedule. A failed one among the daily lookups is a dead letter, visible to operators."""
    attempts = item.attempts + 1
    waits = policy.lookup_after_s
    if attempts < len(waits):
        return _move(item, Action.RESOLVE, waits[attempts], attempts=attempts, errors=errors)
    state = WorkState.QUEUED if errors is None else WorkState.DEAD
    return _move(item, Action.RESOLVE, DAY_S, attempts=attempts, errors=errors, state=state)


def _move(
    item: WorkItem,
    action: Action,
    delay_s: float,
    *,
    attempts: int,
    errors: tuple[WorkError, ...] | None = None,
    state: WorkState = WorkState.QUEUED,
    certainty: DeliveryCertainty | None = None,
) -> MoveWork:
    kept = item.errors if errors is None else errors
    return MoveWork(
        item.work_id, action, state, delay_s, attempts, kept, item.certainty if certainty is None else certainty
    )


def _with_error(item: WorkItem, now: datetime, error: str) -> tuple[WorkError, ...]:
    """The newest errors of the work, including this one."""
    return (*item.errors, WorkError(now, error[:ERROR_LENGTH_MAX]))[-ERRORS_KEPT:]
