"""What refunds, captures and voids do to the deposit that they name, and why a simulated provider declines them."""

from __future__ import annotations

from typing import Final

from domain.events import Kind
from domain.outcomes import AUTHORIZATION_CANCELLED
from gateways.simulator.records import PaymentRequest, Record
from gateways.simulator.rows import TrueStatus

CHILDREN: Final = frozenset({Kind.REFUND, Kind.CAPTURE, Kind.VOID})


def refusal(request: PaymentRequest, original: Record | None) -> str | None:
    """The code that declines ``request``; None when ``original``, the deposit that it names, permits it."""
    if request.kind not in CHILDREN:
        return None
    if original is None or original.request.kind is not Kind.DEPOSIT:
        return "original_not_found"
    minor, same = request.money.minor, request.money.currency == original.request.money.currency
    if request.kind is Kind.REFUND:
        if original.status is not TrueStatus.SUCCESS:
            return "original_not_found"
        return None if same and minor <= original.taken_minor - original.refunded_minor else "amount_too_large"
    if not original.request.hold:
        return "original_not_found"
    if original.status is TrueStatus.CANCELLED and (request.kind is Kind.CAPTURE or original.ended_by is None):
        return AUTHORIZATION_CANCELLED
    if original.ended_by is not None:
        return "duplicate_transaction"
    if original.status is not TrueStatus.AUTHORIZED:
        return "original_not_found"
    return None if same and minor <= original.request.money.minor else "amount_too_large"


def begin(child: Record, original: Record) -> None:
    """Reserve what ``child`` needs of ``original``, so that no other one gets it."""
    if child.request.kind is Kind.REFUND:
        original.refunded_minor += child.request.money.minor
    else:
        original.ended_by = child.id


def end(child: Record, original: Record) -> None:
    """Apply the final status of ``child``, which had begun, to ``original``."""
    done = child.status is TrueStatus.SUCCESS
    match child.request.kind:
        case Kind.REFUND if not done:
            original.refunded_minor -= child.request.money.minor
        case Kind.CAPTURE if done:
            original.status, original.captured_minor = TrueStatus.SUCCESS, child.request.money.minor
        case Kind.VOID if done:
            original.status = TrueStatus.CANCELLED
        case Kind.CAPTURE | Kind.VOID:
            original.ended_by = None
