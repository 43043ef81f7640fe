"""One call to a gateway for one piece of work. Every failure is returned as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from actors.messages import CallResult, NotSent, Unhandled
from domain.account import Transaction
from domain.events import TYPE_NAMES, Kind, Received
from domain.outcomes import NotReceived, NotSentError, Outcome, OutcomeUnknownError, Unknown
from gateways.port import Gateway, LookupMeans, OperationFacts, Order
from store.port import Action, DeliveryCertainty, WorkItem


def result_without_call(gateway: Gateway, item: WorkItem) -> CallResult | None:
    """The result of ``item`` if no call is needed or permitted; None when the gateway is to be called."""
    if item.event_type not in HANDLERS:
        return Unhandled(f"nothing handles events of the type {item.event_type!r}")
    transaction = item.transaction
    if transaction is None:
        return Unhandled("the work names no transaction that can be read")
    facts = gateway.operations.get(transaction.kind)
    if facts is None or (transaction.manual_capture and not gateway.holds):
        reason = f"the gateway does not support this {transaction.kind}"
        sent = item.action is Action.RESOLVE or item.certainty is not DeliveryCertainty.NOT_SENT
        return Unknown(reason) if sent else Unhandled(reason)
    if item.action is Action.RESOLVE and facts.lookup is LookupMeans.NONE:
        return Unknown("the gateway offers no lookup")
    if item.action is Action.SUBMIT and item.certainty is DeliveryCertainty.SENT and not facts.honours_keys:
        return Unknown("the process that was about to send it did not report")
    return None


def must_record_first(gateway: Gateway, item: WorkItem) -> bool:
    """Whether the submission of ``item`` must be on record before it is sent."""
    assert item.transaction is not None  # see result_without_call
    return item.action is Action.SUBMIT and not gateway.operations[item.transaction.kind].honours_keys


def call_gateway(gateway: Gateway, item: WorkItem, now: datetime) -> tuple[CallResult, bool]:
    """Call ``gateway`` for ``item``; returns the result, and whether the gateway is technically healthy. Blocks.

    A defect in an adapter is an unknown outcome: the request may have been sent.
    """
    transaction = item.transaction
    assert transaction is not None  # see result_without_call
    facts = gateway.operations[transaction.kind]
    try:
        return _result(gateway, facts, item.action, transaction, now), True
    except NotSentError as error:
        return NotSent(str(error) or "not sent"), False
    except OutcomeUnknownError as error:
        return Unknown(str(error) or "the outcome is not known"), False
    except BaseException as error:  # noqa: BLE001  # whatever an adapter raises, the money may have moved
        # Without its text, which may contain what the provider sent.
        return Unknown(f"the adapter failed: {type(error).__name__}"), False


def _result(
    gateway: Gateway, facts: OperationFacts, action: Action, transaction: Transaction, now: datetime
) -> Outcome | NotReceived | Unknown:
    """Send or look up ``transaction``. Raises NotSentError, OutcomeUnknownError."""
    order = _order(transaction)
    forgotten = _key_may_be_forgotten(facts, transaction, now)
    if facts.lookup is LookupMeans.QUERY and (forgotten or action is Action.RESOLVE):
        found = gateway.lookup(order)
        if action is Action.RESOLVE or not isinstance(found, NotReceived):
            return found
    elif forgotten:
        return Unknown("the gateway may have forgotten the idempotency key, and offers no lookup")
    return gateway.submit(order)


def _order(transaction: Transaction) -> Order:
    return Order(
        transaction.transaction_id,
        transaction.kind,
        transaction.money,
        transaction.customer_id,
        transaction.details,
        manual_capture=transaction.manual_capture,
        gateway_reference=transaction.gateway_reference,
        parent_id=transaction.parent_id,
        parent_reference=transaction.parent_reference,
    )


def _key_may_be_forgotten(facts: OperationFacts, transaction: Transaction, now: datetime) -> bool:
    """Whether the provider may no longer recognise the idempotency key, if an earlier attempt was sent at all.

    Only half of the promised window counts: the wall clock may be, or may have been, wrong by the other half.
    """
    age = now - transaction.created_at
    return facts.honours_keys and not timedelta(0) <= age <= timedelta(seconds=facts.key_window_s / 2)


Handler = Callable[[Gateway, WorkItem, datetime], tuple[CallResult, bool]]

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType({TYPE_NAMES[Received, kind]: call_gateway for kind in Kind})
"""The handler of work by event type. Work of a type without one becomes a dead letter and delays no other work."""
