"""One call to a gateway for one piece of work. Every failure is returned as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from actors.messages import CallResult, NotSent, Unhandled
from domain.account import Transaction
from domain.outcomes import NotReceived, NotSentError, OutcomeUnknownError, Unknown
from gateways.port import Gateway, Order
from store.port import Action, DeliveryCertainty, WorkItem


def result_without_call(gateway: Gateway, item: WorkItem) -> CallResult | None:
    """The result of ``item`` if no call is needed or permitted; None when the gateway is to be called."""
    if item.event_type not in HANDLERS:
        return Unhandled(f"nothing handles events of the type {item.event_type!r}")
    if item.transaction is None:
        return Unhandled("the work names no transaction that can be read")
    if item.action is Action.RESOLVE and not gateway.looks_up:
        return Unknown("the gateway offers no lookup")
    if item.action is Action.SUBMIT and item.certainty is DeliveryCertainty.SENT and not gateway.honours_keys:
        return Unknown("the process that was about to send it did not report")
    return None


def must_record_first(gateway: Gateway, item: WorkItem) -> bool:
    """Whether the submission of ``item`` must be on record before it is sent."""
    return item.action is Action.SUBMIT and not gateway.honours_keys


def call_gateway(gateway: Gateway, item: WorkItem, now: datetime) -> tuple[CallResult, bool]:
    """Call ``gateway`` for ``item``; returns the result, and whether the gateway is technically healthy. Blocks.

    A defect in an adapter is an unknown outcome: the request may have been sent.
    """
    transaction = item.transaction
    assert transaction is not None  # see result_without_call
    order = Order(
        transaction.transaction_id, transaction.kind, transaction.money, transaction.customer_id, transaction.details
    )
    try:
        if item.action is Action.RESOLVE:
            return gateway.lookup(order), True
        if _key_may_be_forgotten(gateway, transaction, now):
            if not gateway.looks_up:
                return Unknown("the gateway may have forgotten the idempotency key, and offers no lookup"), True
            found = gateway.lookup(order)
            if not isinstance(found, NotReceived):
                return found, True
        return gateway.submit(order), True
    except NotSentError as error:
        return NotSent(str(error) or "not sent"), False
    except OutcomeUnknownError as error:
        return Unknown(str(error) or "the outcome is not known"), False
    except BaseException as error:  # noqa: BLE001  # whatever an adapter raises, the money may have moved
        # Without its text, which may contain what the provider sent.
        return Unknown(f"the adapter failed: {type(error).__name__}"), False


def _key_may_be_forgotten(gateway: Gateway, transaction: Transaction, now: datetime) -> bool:
    """Whether the provider may no longer recognise the idempotency key, if an earlier attempt was sent at all.

    Only half of the promised window counts: the wall clock may be, or may have been, wrong by the other half.
    """
    age = now - transaction.created_at
    return gateway.honours_keys and not timedelta(0) <= age <= timedelta(seconds=gateway.idempotency_window_s / 2)


Handler = Callable[[Gateway, WorkItem, datetime], tuple[CallResult, bool]]

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {"DepositReceived": call_gateway, "WithdrawalReceived": call_gateway}
)
"""The handler of work by event type. Work of a type without one becomes a dead letter and delays no other work."""
