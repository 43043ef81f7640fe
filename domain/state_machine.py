"""The state machine of an account: two pure functions, ``decide`` and ``evolve``.

``DECISIONS`` has one function per command, ``EVOLUTIONS`` one per event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, assert_never

from domain.account import (
    DISCARDED,
    INSUFFICIENT_FUNDS,
    RESOLVED,
    TRANSITIONS,
    Account,
    Balance,
    Failure,
    IllegalTransitionError,
    Refused,
    Status,
    Transaction,
)
from domain.commands import (
    Adjust,
    CloseReview,
    Command,
    Discard,
    OpenReview,
    Receive,
    RecordCallback,
    RecordOutcome,
    RecordSubmission,
    Resolve,
)
from domain.events import (
    BalanceAdjusted,
    Completed,
    Event,
    Failed,
    Kind,
    OutcomeUnknown,
    Processed,
    Received,
    Recorded,
    ReviewClosed,
    ReviewOpened,
    Submitted,
)
from domain.gateway_report import Expected
from domain.money import Money, minor_to_text
from domain.outcomes import Approved, Declined, Unknown
from domain.references import are_same

_Advance = Submitted | OutcomeUnknown | Processed | Completed | Failed
"""The events that advance a transaction that is on record."""


def decide(account: Account, command: Command) -> Sequence[Event] | Refused:
    """Decide ``command``: the resulting events, possibly none, or the refusal.

    Raises UnknownTransactionError when the command names a transaction that ``account`` does not hold.
    """
    return DECISIONS[type(command)](account, command)


def _receive(account: Account, command: Receive) -> Sequence[Event] | Refused:
    if command.transaction_id in account.transactions:
        return ()  # a repeated command: its event is on record
    reserve = command.kind is Kind.WITHDRAWAL and command.checked
    if reserve and (refused := _short(account, command.money)) is not None:
        return refused
    return (Received(command.kind, command.transaction_id, command.gateway, command.money, command.details, reserve),)


def _short(account: Account, money: Money) -> Refused | None:
    """The refusal of a command that takes ``money``; None when it is available."""
    currency = money.currency
    available = account.balances.get(currency, Balance()).available
    if available >= money.minor:
        return None
    text = minor_to_text(available, currency)
    detail = f"{text} {currency} available, {money.text} requested."
    return Refused(INSUFFICIENT_FUNDS, detail, {"available": text, "currency": currency})


def _record_submission(account: Account, command: RecordSubmission) -> Sequence[Event]:
    transaction = account.transaction(command.transaction_id)
    if transaction.status.terminal or command.attempt <= transaction.submissions:
        return ()
    return (Submitted(transaction.kind, transaction.transaction_id, command.attempt),)


def _record_callback(account: Account, command: RecordCallback) -> Sequence[Event]:
    transaction = account.transaction(command.transaction_id)
    known = transaction.gateway_reference
    if command.gateway != transaction.gateway:
        return (review_of(account, transaction, "A callback came from another gateway than the transaction's."),)
    if command.money != transaction.money:
        return (review_of(account, transaction, "A callback names another amount than is on record."),)
    if _contradicts(known, command.reference):
        return (review_of(account, transaction, "A callback names another reference than is on record."),)
    outcome = command.outcome
    if isinstance(outcome, Approved):
        return _outcome(account, transaction, replace(outcome, reference=command.reference))
    if transaction.submissions > 1 and known is None and not transaction.status.terminal:
        # Without keys each send is another payment: the failure of one proves nothing about the others.
        return (review_of(account, transaction, "A callback reports as failed what was sent more than once."),)
    return _outcome(account, transaction, replace(outcome, reference=command.reference))


def _record_outcome(account: Account, command: RecordOutcome) -> Sequence[Event]:
    return _outcome(account, account.transaction(command.transaction_id), command.outcome)


def _outcome(account: Account, transaction: Transaction, outcome: Approved | Declined | Unknown) -> Sequence[Event]:
    kind, transaction_id, status = transaction.kind, transaction.transaction_id, transaction.status
    match outcome:
        case Unknown(reason=reason):
            return (OutcomeUnknown(kind, transaction_id, reason),) if status is Status.PENDING else ()
        case Approved(reference=reference, final=final):
            known = transaction.gateway_reference
            if status is Status.FAILED and (final or _contradicts(known, reference)):
                return (review_of(account, transaction, "The gateway reports as accepted what is recorded as failed."),)
            if status is Status.FAILED:  # a late first answer, "accepted", which a failure may follow
                return ()
            if _contradicts(known, reference):
                return (review_of(account, transaction, "The gateway reports another reference than is on record."),)
            if status is Status.COMPLETED:
                return ()
            processed = () if status is Status.PROCESSED else (Processed(kind, transaction_id, reference),)
            return (*processed, Completed(kind, transaction_id)) if final else processed
        case Declined():
            return _fail(account, transaction, outcome)
        case _:
            assert_never(outcome)


def _contradicts(known: str | None, reference: str) -> bool:
    return known is not None and not are_same(known, reference)


def _fail(account: Account, transaction: Transaction, outcome: Declined) -> Sequence[Event]:
    known, reference = transaction.gateway_reference, outcome.reference
    if transaction.status is Status.COMPLETED:
        return (review_of(account, transaction, "The gateway reports as failed what is recorded as completed."),)
    if transaction.status is Status.FAILED:
        return ()
    if reference is not None and _contradicts(known, reference):
        return (review_of(account, transaction, "The gateway reports another reference than is on record."),)
    kind, transaction_id = transaction.kind, transaction.transaction_id
    return (Failed(kind, transaction_id, outcome.code, outcome.category, outcome.message, reference),)


def _discard(account: Account, command: Discard) -> Sequence[Event] | Refused:
    transaction = account.transaction(command.transaction_id)
    if transaction.status is Status.PENDING and not transaction.gateway_reference:
        return (Failed(transaction.kind, transaction.transaction_id, DISCARDED, None, command.reason),)
    detail = f"The transaction is {transaction.status}: only one that was surely never sent can be discarded."
    return Refused("not-discardable", detail)


def _resolve(account: Account, command: Resolve) -> Sequence[Event] | Refused:
    transaction = account.transaction(command.transaction_id)
    kind, transaction_id = transaction.kind, transaction.transaction_id
    if command.version != transaction.version:
        detail = f"The transaction has changed: its version is {transaction.version}, not {command.version}."
        return Refused("stale-version", detail)
    if transaction.status.terminal:
        return Refused("already-final", f"The transaction is {transaction.status}, which is final.")
    if not command.completed:
        return (Failed(kind, transaction_id, RESOLVED, None, command.reason),)
    processed = () if transaction.status is Status.PROCESSED else (Processed(kind, transaction_id, None),)
    return (*processed, Completed(kind, transaction_id))


def _adjust(account: Account, command: Adjust) -> Sequence[Event] | Refused:
    money = command.money
    if money.minor < 0 and (refused := _short(account, Money(-money.minor, money.currency))) is not None:
        return refused
    return (BalanceAdjusted(command.adjustment_id, money, command.reason, command.evidence),)


def _open_review(account: Account, command: OpenReview) -> Sequence[Event]:
    transaction = account.transaction(command.transaction_id)
    return () if transaction.status.terminal else (review_of(account, transaction, command.reason),)


def _close_review(account: Account, command: CloseReview) -> Sequence[Event]:  # noqa: ARG001
    return (ReviewClosed(command.review_id, command.reason),)


DECISIONS: Final[dict[type, Callable[[Account, Any], Sequence[Event] | Refused]]] = {
    Receive: _receive,
    RecordSubmission: _record_submission,
    RecordOutcome: _record_outcome,
    RecordCallback: _record_callback,
    Discard: _discard,
    Resolve: _resolve,
    OpenReview: _open_review,
    Adjust: _adjust,
    CloseReview: _close_review,
}
"""The decision on each command."""


def review_of(account: Account, transaction: Transaction, reason: str) -> ReviewOpened:
    """The next event of ``account``: a review of ``transaction``, with its present record."""
    transaction_id, money = transaction.transaction_id, transaction.money
    status, reference = transaction.status.value, transaction.gateway_reference
    expected = Expected(transaction.gateway, status, money.text, money.currency, reference)
    # A version is unique in a stream, so an id made of it is unique too.
    return ReviewOpened(f"{transaction_id}.{account.version + 1}", transaction_id, reason, expected=expected)


def evolve(account: Account, recorded: Recorded) -> Account:
    """The account after ``recorded``, which must be its next event.

    Raises IllegalTransitionError when the event does not follow from the state, and UnknownTransactionError when
    it names a transaction that ``account`` does not hold.
    """
    if recorded.version != account.version + 1:
        raise IllegalTransitionError(f"version {recorded.version} does not follow {account.version}")
    return EVOLUTIONS[type(recorded.event)](account, recorded.event, recorded)


def _received(account: Account, event: Received, recorded: Recorded) -> Account:
    if event.transaction_id in account.transactions:
        raise IllegalTransitionError(f"{event.transaction_id} received twice")
    transaction = Transaction(
        transaction_id=event.transaction_id,
        kind=event.kind,
        customer_id=account.customer_id,
        gateway=event.gateway,
        money=event.money,
        details=event.details,
        status=Status.PENDING,
        reserved=event.reserved,
        submissions=0,
        gateway_reference=None,
        failure=None,
        version=recorded.version,
        created_at=recorded.occurred_at,
        updated_at=recorded.occurred_at,
    )
    return Account(
        account.customer_id,
        recorded.version,
        _rebalance(account.balances, transaction, event),
        {**account.transactions, transaction.transaction_id: transaction},
    )


def _adjusted(account: Account, event: BalanceAdjusted, recorded: Recorded) -> Account:
    balances = _moved(account.balances, event.money.currency, event.money.minor, 0)
    return replace(account, version=recorded.version, balances=balances)


def unchanged(account: Account, event: Event, recorded: Recorded) -> Account:  # noqa: ARG001
    """The account after an event that changes its version only."""
    return replace(account, version=recorded.version)


def _advanced(account: Account, event: _Advance, recorded: Recorded) -> Account:
    transaction = account.transaction(event.transaction_id)
    status, submissions = transaction.status, transaction.submissions
    reference, failure = transaction.gateway_reference, transaction.failure
    match event:
        case Submitted(attempt=attempt):
            if status.terminal or attempt <= submissions:
                raise IllegalTransitionError(f"attempt {attempt} of {transaction.transaction_id} after {submissions}")
            submissions = attempt
        case OutcomeUnknown():
            status = _step(transaction, Status.UNKNOWN)
        case Processed(gateway_reference=reference):
            status = _step(transaction, Status.PROCESSED)
        case Completed():
            status = _step(transaction, Status.COMPLETED)
        case Failed():
            status = _step(transaction, Status.FAILED)
            failure = Failure(event.code, event.category, event.message)
            reference = event.gateway_reference or reference
        case _:
            assert_never(event)
    transaction = Transaction(  # not dataclasses.replace, which costs as much as the rest of a decision
        transaction.transaction_id,
        transaction.kind,
        transaction.customer_id,
        transaction.gateway,
        transaction.money,
        transaction.details,
        status,
        transaction.reserved,
        submissions,
        reference,
        failure,
        recorded.version,
        transaction.created_at,
        recorded.occurred_at,
    )
    return Account(
        account.customer_id,
        recorded.version,
        _rebalance(account.balances, transaction, event),
        {**account.transactions, transaction.transaction_id: transaction},
    )


def _step(transaction: Transaction, to: Status) -> Status:
    if to not in TRANSITIONS[transaction.status]:
        raise IllegalTransitionError(f"{transaction.transaction_id}: {transaction.status} to {to}")
    return to


def _rebalance(balances: Mapping[str, Balance], transaction: Transaction, event: Event) -> Mapping[str, Balance]:
    """The balances after ``event``: a reserve is released once, and only a completed deposit adds."""
    minor = transaction.money.minor
    available = reserved = 0
    if transaction.kind is Kind.DEPOSIT:
        if isinstance(event, Completed):
            available = minor
    elif transaction.reserved:
        if isinstance(event, Received):
            available, reserved = -minor, minor
        elif isinstance(event, Completed):
            reserved = -minor
        elif isinstance(event, Failed):
            available, reserved = minor, -minor
    if not available and not reserved:
        return balances
    return _moved(balances, transaction.money.currency, available, reserved)


def _moved(balances: Mapping[str, Balance], currency: str, available: int, reserved: int) -> Mapping[str, Balance]:
    """The balances after a change in one currency. Raises IllegalTransitionError below zero."""
    before = balances.get(currency, Balance())
    after = Balance(before.available + available, before.reserved + reserved)
    if after.available < 0 or after.reserved < 0:
        raise IllegalTransitionError(f"the balance in {currency} would fall below zero")
    return {**balances, currency: after}


EVOLUTIONS: Final[dict[type, Callable[[Account, Any, Recorded], Account]]] = {
    Received: _received,
    Submitted: _advanced,
    OutcomeUnknown: _advanced,
    Processed: _advanced,
    Completed: _advanced,
    Failed: _advanced,
    BalanceAdjusted: _adjusted,
    ReviewOpened: unchanged,
    ReviewClosed: unchanged,
}
"""For each class of event: the account after an event that is the next one."""
