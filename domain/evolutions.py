"""Evolutions: the account after an event. Pure functions, one for each class of event or for several of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from domain import children
from domain.account import (
    TRANSITIONS,
    Account,
    Balance,
    Failure,
    IllegalTransitionError,
    Status,
    Transaction,
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
    Recorded,
    Submitted,
    Voided,
)

_Advance = Submitted | OutcomeUnknown | Processed | Authorized | Completed | Voided | Failed
"""The events that advance a transaction that is on record."""


def received(account: Account, event: Received, recorded: Recorded) -> Account:
    """The account with a new transaction."""
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
        correlation_id=recorded.correlation_id,
        manual_capture=event.manual_capture,
        parent_id=event.parent_id,
        parent_reference=event.parent_reference,
        reason=event.reason,
    )
    return _with(account, transaction, event, recorded)


def advanced(account: Account, event: _Advance, recorded: Recorded) -> Account:
    """The account with an advanced transaction."""
    transaction = account.transaction(event.transaction_id)
    status, submissions = transaction.status, transaction.submissions
    reference, failure = transaction.gateway_reference, transaction.failure
    captured_minor, expires_at = transaction.captured_minor, transaction.authorization_expires_at
    match event:
        case Submitted(attempt=attempt):
            if status.terminal or attempt <= submissions:
                raise IllegalTransitionError(f"attempt {attempt} of {transaction.transaction_id} after {submissions}")
            submissions = attempt
        case OutcomeUnknown():
            status = _step(transaction, Status.UNKNOWN)
        case Processed(gateway_reference=reference):
            status = _step(transaction, Status.PROCESSED)
        case Authorized(expires_at=expires_at):
            status = _step(transaction, Status.AUTHORIZED)
            reference = event.gateway_reference or reference
        case Completed(captured=captured):
            status = _step(transaction, Status.COMPLETED)
            captured_minor = None if captured is None else captured.minor
            children.check_capture(transaction, captured)
        case Voided():
            status = _step(transaction, Status.VOIDED)
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
        transaction.correlation_id,
        transaction.manual_capture,
        transaction.parent_id,
        transaction.parent_reference,
        transaction.reason,
        captured_minor,
        transaction.refunded_minor,
        transaction.refunding_minor,
        transaction.ended_by,
        expires_at,
    )
    return _with(account, transaction, event, recorded)


def adjusted(account: Account, event: BalanceAdjusted, recorded: Recorded) -> Account:
    """The account with a corrected balance."""
    balances = _moved(account.balances, event.money.currency, event.money.minor, 0)
    return replace(account, version=recorded.version, balances=balances)


def unchanged(account: Account, event: Event, recorded: Recorded) -> Account:  # noqa: ARG001
    """The account after an event that changes its version only."""
    return replace(account, version=recorded.version)


def _with(account: Account, transaction: Transaction, event: Received | _Advance, recorded: Recorded) -> Account:
    """The account with ``transaction`` as ``event`` left it, and what that does to its parent and the balances."""
    transactions = {**account.transactions, transaction.transaction_id: transaction}
    if transaction.parent_id is not None:
        parent = children.parent_after(account.transaction(transaction.parent_id), transaction, event, recorded)
        transactions[parent.transaction_id] = parent
    balances = _rebalance(account.balances, transaction, event)
    return Account(account.customer_id, recorded.version, balances, transactions)


def _step(transaction: Transaction, to: Status) -> Status:
    if to not in TRANSITIONS[transaction.status]:
        raise IllegalTransitionError(f"{transaction.transaction_id}: {transaction.status} to {to}")
    return to


def _rebalance(balances: Mapping[str, Balance], transaction: Transaction, event: Event) -> Mapping[str, Balance]:
    """The balances after ``event``: a reserve is released once, and only a completed deposit adds."""
    available = reserved = 0
    if transaction.kind is Kind.DEPOSIT:
        if isinstance(event, Completed):
            available = transaction.taken_minor
    elif transaction.reserved:
        minor = transaction.money.minor
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
