"""Refunds, captures and voids: what their parent, a deposit, must permit, and how they change it.

The amounts and the end of a parent follow from the events of its children. All of them are in one stream, so they are
decided by one writer and stored in one append.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from domain.account import (
    AMOUNT_TOO_LARGE,
    NOT_POSSIBLE_NOW,
    NOT_SUPPORTED,
    Account,
    IllegalTransitionError,
    Refused,
    Status,
    Transaction,
    short_of,
)
from domain.commands import ReceiveChild
from domain.events import Completed, Event, Failed, Kind, Received, Recorded, Voided
from domain.money import Money, minor_to_text
from domain.outcomes import AUTHORIZATION_GONE
from domain.references import is_masked


def receive_child(account: Account, command: ReceiveChild) -> Sequence[Event] | Refused:
    """Accept a refund, capture or void, or refuse it. Raises UnknownTransactionError without its parent."""
    if command.transaction_id in account.transactions:
        return ()  # a repeated command: its event is on record
    parent = account.transaction(command.parent_id)
    refused = _refused_now(parent, command.kind)
    if refused is not None:
        return refused
    if parent.gateway_reference is None or is_masked(parent.gateway_reference):
        return Refused(NOT_SUPPORTED, "The gateway's own reference of the transaction is not known.")
    left = refundable_minor(parent) if command.kind is Kind.REFUND else parent.money.minor
    minor = left if command.minor is None else command.minor
    if minor > left or minor == 0:
        return _too_large(parent, command.kind, left)
    money = Money(minor, parent.money.currency)
    reserve = command.kind is Kind.REFUND and command.checked
    if reserve and (short := short_of(account, money)) is not None:
        return short
    event = Received(
        command.kind,
        command.transaction_id,
        parent.gateway,
        money,
        {},
        reserve,
        parent_id=parent.transaction_id,
        parent_reference=parent.gateway_reference,
        reason=command.reason,
    )
    return (event,)


def refundable_minor(parent: Transaction) -> int:
    """What is left to refund of a completed deposit: what it took, without the refunds that did not fail."""
    return parent.taken_minor - parent.refunded_minor - parent.refunding_minor


def is_ending(transaction: Transaction) -> bool:
    """Whether a capture or void of this authorization is under way. Then its outcome decides."""
    return transaction.status is Status.AUTHORIZED and transaction.ended_by is not None


def parents_events(account: Account, child: Transaction, events: Sequence[Event]) -> Sequence[Event]:
    """The events of the parent that follow from the ``events`` of ``child``, for the same append."""
    if not child.kind.ends_authorization:
        return ()
    assert child.parent_id is not None  # every capture and void has one
    for event in events:
        match event:
            case Completed() if child.kind is Kind.CAPTURE:
                return (Completed(Kind.DEPOSIT, child.parent_id, child.money),)
            case Completed():
                return (Voided(Kind.DEPOSIT, child.parent_id),)
            case Failed(code=code) if code in AUTHORIZATION_GONE:
                parent = account.transaction(child.parent_id)
                return (Failed(Kind.DEPOSIT, parent.transaction_id, code, event.category, event.message),)
    return ()


def parent_after(parent: Transaction, child: Transaction, event: Event, recorded: Recorded) -> Transaction:
    """``parent`` after ``event`` of ``child``. Raises IllegalTransitionError above its amounts."""
    refunded, refunding, ended_by = parent.refunded_minor, parent.refunding_minor, parent.ended_by
    minor = child.money.minor
    if child.kind.ends_authorization:
        if isinstance(event, Received):
            if parent.status is not Status.AUTHORIZED or ended_by is not None or minor > parent.money.minor:
                raise IllegalTransitionError(f"a {child.kind} of {parent.transaction_id}, which is {parent.status}")
            ended_by = child.transaction_id
        elif isinstance(event, Failed):
            ended_by = None
        else:
            return parent
    elif isinstance(event, Received):
        if parent.status is not Status.COMPLETED or minor > refundable_minor(parent):
            raise IllegalTransitionError(f"a {child.kind} of {parent.transaction_id} above what is left")
        refunding += minor
    elif isinstance(event, Completed):
        refunding, refunded = refunding - minor, refunded + minor
    elif isinstance(event, Failed):
        refunding -= minor
    else:
        return parent
    return replace(
        parent,
        refunded_minor=refunded,
        refunding_minor=refunding,
        ended_by=ended_by,
        version=recorded.version,
        updated_at=recorded.occurred_at,
    )


def check_capture(transaction: Transaction, captured: Money | None) -> None:
    """Check the end of a deposit against its authorization. Raises IllegalTransitionError."""
    authorized = transaction.status is Status.AUTHORIZED
    if authorized is not (captured is not None):
        raise IllegalTransitionError(f"{transaction.transaction_id}: {transaction.status} completed as {captured}")
    if captured is not None and not 0 < captured.minor <= transaction.money.minor:
        raise IllegalTransitionError(f"{transaction.transaction_id}: captured more than is held")


def _refused_now(parent: Transaction, kind: Kind) -> Refused | None:
    """The refusal by the status of the parent; None when it permits the operation."""
    wanted = Status.COMPLETED if kind is Kind.REFUND else Status.AUTHORIZED
    if parent.kind is not Kind.DEPOSIT:
        detail = f"A {kind} needs a deposit, and the transaction is a {parent.kind}."
        return Refused(NOT_POSSIBLE_NOW, detail, {"transaction_status": parent.status})
    if parent.status is not wanted:
        detail = f"A {kind} needs a deposit that is {wanted}, and the transaction is {parent.status}."
        return Refused(NOT_POSSIBLE_NOW, detail, {"transaction_status": parent.status})
    if kind is not Kind.REFUND and parent.ended_by is not None:
        detail = f"The capture or void {parent.ended_by} of the transaction is under way."
        return Refused(NOT_POSSIBLE_NOW, detail, {"transaction_status": parent.status})
    return None


def _too_large(parent: Transaction, kind: Kind, left: int) -> Refused:
    currency = parent.money.currency
    text = minor_to_text(left, currency)
    what = "is left to refund" if kind is Kind.REFUND else "is held"
    return Refused(AMOUNT_TOO_LARGE, f"{text} {currency} {what}.", {"available": text, "currency": currency})
