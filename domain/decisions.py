"""Decisions: for each command, the events that follow from it, or its refusal. One pure function per command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from domain.account import (
    DISCARDED,
    NOT_POSSIBLE_NOW,
    RESOLVED,
    Account,
    Refused,
    Status,
    Transaction,
    short_of,
)
from domain.children import is_ending, parents_events
from domain.commands import (
    Adjust,
    CloseReview,
    Discard,
    OpenReview,
    Receive,
    RecordCallback,
    RecordOutcome,
    RecordSubmission,
    Resolution,
    Resolve,
)
from domain.events import (
    Authorized,
    BalanceAdjusted,
    Completed,
    Event,
    Failed,
    Kind,
    OutcomeUnknown,
    Processed,
    Received,
    ReviewClosed,
    ReviewOpened,
    Submitted,
)
from domain.gateway_report import Expected
from domain.money import Money
from domain.outcomes import (
    AUTHORIZATION_GONE,
    DUPLICATE_TRANSACTION,
    Approved,
    Authorization,
    Declined,
    Outcome,
    Unknown,
)
from domain.references import are_same

_NOTHING_MOVED: Final = frozenset({Status.FAILED, Status.VOIDED})
_HELD: Final = frozenset({Status.AUTHORIZED, Status.COMPLETED, Status.VOIDED})
"""The statuses of an authorization that was reported before."""


def receive(account: Account, command: Receive) -> Sequence[Event] | Refused:
    """Accept a deposit or withdrawal, or refuse it."""
    if command.transaction_id in account.transactions:
        return ()  # a repeated command: its event is on record
    reserve = command.kind is Kind.WITHDRAWAL and command.checked
    if reserve and (refused := short_of(account, command.money)) is not None:
        return refused
    event = Received(
        command.kind,
        command.transaction_id,
        command.gateway,
        command.money,
        command.details,
        reserve,
        command.manual_capture,
    )
    return (event,)


def record_submission(account: Account, command: RecordSubmission) -> Sequence[Event]:
    """Record that an attempt is about to be sent, once for each attempt."""
    transaction = account.transaction(command.transaction_id)
    if transaction.status.terminal or command.attempt <= transaction.submissions:
        return ()
    return (Submitted(transaction.kind, transaction.transaction_id, command.attempt),)


def record_callback(account: Account, command: RecordCallback) -> Sequence[Event]:
    """Record what a callback adds, or open a review of it."""
    transaction = account.transaction(command.transaction_id)
    known, outcome = transaction.gateway_reference, command.outcome
    if command.gateway != transaction.gateway:
        return (review_of(account, transaction, "A callback came from another gateway than the transaction's."),)
    if command.money != transaction.money:
        return (review_of(account, transaction, "A callback names another amount than is on record."),)
    if _contradicts(known, command.reference):
        return (review_of(account, transaction, "A callback names another reference than is on record."),)
    unproven = transaction.submissions > 1 and known is None and not transaction.status.terminal
    if isinstance(outcome, Declined) and unproven:
        # Without keys each send is another payment: the failure of one proves nothing about the others.
        return (review_of(account, transaction, "A callback reports as failed what was sent more than once."),)
    of_hold = transaction.manual_capture or transaction.kind.ends_authorization
    if isinstance(outcome, Declined) and outcome.code in AUTHORIZATION_GONE and not of_hold:
        return (review_of(account, transaction, "A callback reports the end of an authorization that never was."),)
    return _outcome(account, transaction, replace(outcome, reference=command.reference), command.expires_at)


def record_outcome(account: Account, command: RecordOutcome) -> Sequence[Event]:
    """Record what the outcome of a call adds, or open a review of it."""
    return _outcome(account, account.transaction(command.transaction_id), command.outcome, command.expires_at)


def _outcome(
    account: Account, transaction: Transaction, outcome: Outcome | Unknown, expires_at: datetime | None
) -> Sequence[Event]:
    match outcome:
        case Unknown(reason=reason):
            kind, transaction_id = transaction.kind, transaction.transaction_id
            unknown = transaction.status is Status.PENDING
            return (OutcomeUnknown(kind, transaction_id, reason),) if unknown else ()
        case Authorization(reference=reference):
            if not transaction.manual_capture:  # nothing was asked to be held: the final outcome is still to come
                return _approve(account, transaction, Approved(reference, final=False))
            return _authorize(account, transaction, reference, outcome.expires_at or expires_at)
        case Approved():
            return _approve(account, transaction, outcome)
        case Declined():
            return _fail(account, transaction, outcome)
        case _:
            assert_never(outcome)


def _approve(account: Account, transaction: Transaction, outcome: Approved) -> Sequence[Event]:
    kind, transaction_id, status = transaction.kind, transaction.transaction_id, transaction.status
    reference, final = outcome.reference, outcome.final
    known = transaction.gateway_reference
    if status in _NOTHING_MOVED and (final or _contradicts(known, reference)):
        reason = f"The gateway reports as accepted what is recorded as {status}."
        return (review_of(account, transaction, reason),)
    if status in _NOTHING_MOVED:  # a late first answer, "accepted", which the end may follow
        return ()
    if _contradicts(known, reference):
        return (review_of(account, transaction, "The gateway reports another reference than is on record."),)
    if status is Status.COMPLETED or is_ending(transaction):
        return ()
    if transaction.manual_capture and final:
        # The amount is not known that was taken without a capture of this service.
        reason = "The gateway reports as completed what was to be authorized only."
        return (review_of(account, transaction, reason),)
    if not final:
        recorded = status in {Status.PROCESSED, Status.AUTHORIZED}
        return () if recorded else (Processed(kind, transaction_id, reference),)
    processed = () if status is Status.PROCESSED else (Processed(kind, transaction_id, reference),)
    return _ended(account, transaction, (*processed, Completed(kind, transaction_id)))


def _authorize(
    account: Account, transaction: Transaction, reference: str, expires_at: datetime | None
) -> Sequence[Event]:
    known, status = transaction.gateway_reference, transaction.status
    assert expires_at is not None  # the issuer of the command fills it in
    failure = transaction.failure
    if failure is not None and failure.code not in AUTHORIZATION_GONE:
        return (review_of(account, transaction, "The gateway reports as accepted what is recorded as failed."),)
    if _contradicts(known, reference):
        return (review_of(account, transaction, "The gateway reports another reference than is on record."),)
    if status in _HELD or failure is not None:  # a late report of a hold that has ended since
        return ()
    return (Authorized(transaction.kind, transaction.transaction_id, reference, expires_at),)


def _contradicts(known: str | None, reference: str) -> bool:
    return known is not None and not are_same(known, reference)


def _fail(account: Account, transaction: Transaction, outcome: Declined) -> Sequence[Event]:
    known, reference = transaction.gateway_reference, outcome.reference
    if transaction.status is Status.COMPLETED:
        return (review_of(account, transaction, "The gateway reports as failed what is recorded as completed."),)
    if transaction.status in _NOTHING_MOVED or is_ending(transaction):
        return ()
    if reference is not None and _contradicts(known, reference):
        return (review_of(account, transaction, "The gateway reports another reference than is on record."),)
    kind, transaction_id = transaction.kind, transaction.transaction_id
    failed = Failed(kind, transaction_id, outcome.code, outcome.category, outcome.message, reference)
    return _ended(account, transaction, (failed,))


def _ended(account: Account, transaction: Transaction, events: Sequence[Event]) -> Sequence[Event]:
    """``events`` of ``transaction``, with those of its parent that follow from them."""
    followed = parents_events(account, transaction, events)
    failed = events[-1]
    if transaction.kind.ends_authorization and isinstance(failed, Failed) and failed.code == DUPLICATE_TRANSACTION:
        # The record lacks a capture or void: the store may have been restored to an earlier state.
        parent = account.transaction(transaction.parent_id or "")
        return (*events, *followed, review_of(account, parent, "The gateway reports an earlier capture or void."))
    return (*events, *followed)


def discard(account: Account, command: Discard) -> Sequence[Event] | Refused:
    """End a transaction that was surely never sent, or refuse that."""
    transaction = account.transaction(command.transaction_id)
    if transaction.status is Status.PENDING and not transaction.gateway_reference:
        return (Failed(transaction.kind, transaction.transaction_id, DISCARDED, None, command.reason),)
    detail = f"The transaction is {transaction.status}: only one that was surely never sent can be discarded."
    return Refused("not-discardable", detail)


def resolve(account: Account, command: Resolve) -> Sequence[Event] | Refused:
    """Record the outcome that an operator confirmed, or refuse it."""
    transaction = account.transaction(command.transaction_id)
    kind, transaction_id, status = transaction.kind, transaction.transaction_id, transaction.status
    if command.version != transaction.version:
        detail = f"The transaction has changed: its version is {transaction.version}, not {command.version}."
        return Refused("stale-version", detail)
    if status.terminal:
        return Refused("already-final", f"The transaction is {status}, which is final.")
    if is_ending(transaction):
        detail = f"Its capture or void {transaction.ended_by} is under way, and decides its outcome."
        return Refused(NOT_POSSIBLE_NOW, detail)
    if command.outcome is Resolution.FAILED:
        return _ended(account, transaction, (Failed(kind, transaction_id, RESOLVED, None, command.reason),))
    to_hold = transaction.manual_capture and status is not Status.AUTHORIZED
    if to_hold is not (command.outcome is Resolution.AUTHORIZED):
        wanted = "authorized or failed" if to_hold else "completed or failed"
        return Refused(NOT_POSSIBLE_NOW, f"The outcome of this transaction can only be {wanted}.")
    if command.outcome is Resolution.AUTHORIZED:
        assert command.expires_at is not None  # the issuer of the command fills it in
        return (Authorized(kind, transaction_id, None, command.expires_at),)
    if status is Status.AUTHORIZED:  # captured in full without this service
        return (Completed(kind, transaction_id, transaction.money),)
    processed = () if status is Status.PROCESSED else (Processed(kind, transaction_id, None),)
    return _ended(account, transaction, (*processed, Completed(kind, transaction_id)))


def adjust(account: Account, command: Adjust) -> Sequence[Event] | Refused:
    """Correct a balance, or refuse that."""
    money = command.money
    if money.minor < 0 and (refused := short_of(account, Money(-money.minor, money.currency))) is not None:
        return refused
    return (BalanceAdjusted(command.adjustment_id, money, command.reason, command.evidence),)


def open_review(account: Account, command: OpenReview) -> Sequence[Event]:
    """Open a review, unless its transaction has ended."""
    transaction = account.transaction(command.transaction_id)
    return () if transaction.status.terminal else (review_of(account, transaction, command.reason),)


def close_review(account: Account, command: CloseReview) -> Sequence[Event]:  # noqa: ARG001
    """Close a review."""
    return (ReviewClosed(command.review_id, command.reason),)


def review_of(account: Account, transaction: Transaction, reason: str) -> ReviewOpened:
    """The next event of ``account``: a review of ``transaction``, with its present record."""
    transaction_id, money = transaction.transaction_id, transaction.money
    status, reference = transaction.status.value, transaction.gateway_reference
    expected = Expected(transaction.gateway, status, money.text, money.currency, reference)
    # A version is unique in a stream, so an id made of it is unique too.
    return ReviewOpened(f"{transaction_id}.{account.version + 1}", transaction_id, reason, expected=expected)
