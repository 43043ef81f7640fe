"""Values of the domain and the store as JSON objects, in the shapes of ``api.schemas``. Independent of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from typing import Any, Final

from actors.operations.waiting_callbacks import gateway_of, read_payload
from actors.replies import GatewayStatus
from api.positions import event_cursor
from domain.account import Transaction
from domain.gateway_report import GatewayReport
from domain.money import minor_to_text
from store.codec import expected_data, read_body, report_data, timestamp
from store.errors import CorruptStoreError
from store.event_json import feed_event
from store.port import StoredEvent, WorkState
from store.queries import CustomerView, DeadLetter, ReviewView, TransactionView

LETTER_STATES: Final[Mapping[WorkState, str]] = {WorkState.DEAD: "waiting", WorkState.PARKED: "parked"}
"""The states of work that make it a dead letter, with their names in the API."""


def transaction(it: Transaction, attention: str | None = None) -> dict[str, Any]:
    """A transaction; ``attention`` comes from the store's queries."""
    failure, currency = it.failure, it.money.currency
    created_at = timestamp(it.created_at)
    return {
        "transaction_id": it.transaction_id,
        "type": it.kind,
        "status": it.status,
        "amount": it.money.text,
        "currency": currency,
        "gateway": it.gateway,
        "customer_id": it.customer_id,
        "details": dict(it.details),
        "gateway_reference": it.gateway_reference,
        "failure": failure
        and {
            "code": failure.code,
            "category": failure.category,
            "message": failure.message,
        },
        "parent_id": it.parent_id,
        "reason": it.reason,
        "captured_amount": None if it.captured_minor is None else minor_to_text(it.captured_minor, currency),
        "refunded_amount": _amount(it.refunded_minor, currency),
        "refunding_amount": _amount(it.refunding_minor, currency),
        "authorization_expires_at": _time(it.authorization_expires_at),
        "attention": attention,
        "version": it.version,
        "created_at": created_at,
        "updated_at": created_at if it.updated_at is it.created_at else timestamp(it.updated_at),
    }


def transaction_view(view: TransactionView) -> dict[str, Any]:
    """A transaction with its ``attention``."""
    return transaction(view.transaction, view.attention)


def customer(customer_id: str, view: CustomerView) -> dict[str, Any]:
    """A customer with its balances."""
    return {
        "customer_id": customer_id,
        "version": view.version,
        "balances": [
            {
                "currency": currency,
                "available": minor_to_text(balance.available, currency),
                "reserved": minor_to_text(balance.reserved, currency),
            }
            for currency, balance in view.balances
        ],
    }


def event(stored: StoredEvent, generation: int, *, sees_all: bool) -> dict[str, Any]:
    """An event as it is stored, also of a type that this version of the service does not know.

    ``sees_all``: show the position among all events, which reveals the volume of all merchants; else a cursor.
    """
    shown = feed_event(stored, read_body(stored.body), generation)
    if sees_all:
        return {**shown}
    return {"cursor": event_cursor(generation, stored), **{one: it for one, it in shown.items() if one != "position"}}


def gateway(status: GatewayStatus) -> dict[str, Any]:
    """A gateway with its breaker and bulkhead."""
    breaker, bulkhead = status.breaker, status.bulkhead
    return {
        "name": status.name,
        "adapter": status.adapter,
        "currencies": sorted(status.currencies),
        "breaker": {
            "state": breaker.state,
            "mode": breaker.mode,
            "error_percent": breaker.error_percent,
            "requests": breaker.requests,
            "opened_at": _time(breaker.opened_at),
            "reopens_at": _time(breaker.reopens_at),
        },
        "bulkhead": {
            "in_flight": bulkhead.in_flight,
            "waiting": bulkhead.waiting,
            "max_concurrent": bulkhead.max_concurrent,
        },
    }


def dead_letter(it: DeadLetter) -> dict[str, Any]:
    """A dead letter with the errors of its attempts."""
    item = it.item
    return {
        "id": item.work_id,
        "transaction_id": it.transaction_id,
        "gateway": gateway_of(item.gateway),
        "action": item.action,
        "event_type": item.event_type,
        "state": LETTER_STATES[it.state],
        "attempts": item.attempts,
        "next_attempt_at": _time(it.next_attempt_at),
        "errors": [{"at": timestamp(error.at), "error": error.error} for error in item.errors],
        "created_at": timestamp(it.created_at),
    }


def waiting_callback(it: DeadLetter) -> dict[str, Any]:
    """A stored callback that waits for its transaction; ``it`` is its work item."""
    item = it.item
    try:
        stored = read_payload(item)
    except CorruptStoreError:  # the timer parks it as a dead letter
        report, waits_until = _NO_REPORT, None
    else:
        report, waits_until = _report(stored.report), timestamp(stored.waits_until)
    return {
        "id": item.work_id,
        "gateway": gateway_of(item.gateway),
        **{name: report[name] for name in _CALLBACK},
        "received_at": timestamp(it.created_at) if report["at"] is None else report["at"],
        "waits_until": waits_until,
        "attempts": item.attempts,
        "next_attempt_at": _time(it.next_attempt_at),
    }


_CALLBACK: Final = ["event_id", "reference", "gateway_reference", "status", "amount", "currency", "body", "body_bytes"]
"""The members of the gateway's report that a waiting callback shows."""


def review(it: ReviewView) -> dict[str, Any]:
    """A review with its subject, what the gateway reported, and what was on record."""
    row = it.review
    return {
        "id": row.review_id,
        "transaction_id": row.transaction_id,
        "customer_id": it.customer_id,
        "gateway": it.gateway,
        "reason": row.reason,
        "state": row.state,
        "opened_at": timestamp(row.opened_at),
        "closed_at": _time(row.closed_at),
        "said": row.said and _report(row.said),
        "expected": row.expected and expected_data(row.expected),
    }


def _report(report: GatewayReport) -> dict[str, Any]:
    return _NO_REPORT | report_data(report)


_NO_REPORT: Final[dict[str, Any]] = dict.fromkeys(one.name for one in fields(GatewayReport))


@cache
def _nothing(currency: str) -> str:
    return minor_to_text(0, currency)


def _amount(minor: int, currency: str) -> str:
    """An amount that is usually zero."""
    return minor_to_text(minor, currency) if minor else _nothing(currency)


def _time(at: datetime | None) -> str | None:
    return None if at is None else timestamp(at)
