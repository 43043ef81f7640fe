"""One call to a gateway for one piece of work. Knows no actor; whatever goes wrong comes back as a value."""

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
    """What becomes of ``item`` when that needs no call, or must not be told by one; None: call."""
    if item.event_type not in HANDLERS:
        return Unhandled(f"nothing handles events of the type {item.event_type!r}")
    if item.transaction is None:
        return Unhandled("the work names no transaction that can be read")
    if item.action is Action.RESOLVE and not gateway.looks_up:
        return Unknown("the gateway cannot be asked")
    if item.action is Action.SUBMIT and item.certainty is DeliveryCertainty.SENT and not gateway.honours_keys:
        return Unknown("the process that was about to send it said no more")
    return None


def must_record_first(gateway: Gateway, item: WorkItem) -> bool:
    """Whether the record must say that ``item`` is about to be sent before it is."""
    return item.action is Action.SUBMIT and not gateway.honours_keys


def call_gateway(gateway: Gateway, item: WorkItem, now: datetime) -> tuple[CallResult, bool]:
    """Do ``item`` at ``gateway``: its result, and whether the gateway is technically healthy. Blocks.

    A defect in an adapter is an unknown outcome: the request may have gone out.
    """
    transaction = item.transaction
    assert transaction is not None  # result_without_call saw to that
    order = Order(
        transaction.transaction_id, transaction.kind, transaction.money, transaction.customer_id, transaction.details
    )
    try:
        if item.action is Action.RESOLVE:
            return gateway.lookup(order), True
        if _key_may_be_forgotten(gateway, transaction, now):
            if not gateway.looks_up:
                return Unknown("the gateway may not know its key any more, and cannot be asked"), True
            found = gateway.lookup(order)
            if not isinstance(found, NotReceived):
                return found, True
        return gateway.submit(order), True
    except NotSentError as error:
        return NotSent(str(error) or "not sent"), False
    except OutcomeUnknownError as error:
        return Unknown(str(error) or "the outcome is not known"), False
    except BaseException as error:  # noqa: BLE001  # whatever an adapter raises: the money may have moved
        return Unknown(f"the adapter failed: {type(error).__name__}"), False  # its text may hold what a provider sent


def _key_may_be_forgotten(gateway: Gateway, transaction: Transaction, now: datetime) -> bool:
    """Whether the provider may not know again what was sent under this key; whether anything was, a crash hides.

    Half of what it promises: so far may the wall clock have been wrong when the transaction was received or be now.
    """
    age = now - transaction.created_at
    return gateway.honours_keys and not timedelta(0) <= age <= timedelta(seconds=gateway.idempotency_window_s / 2)


Handler = Callable[[Gateway, WorkItem, datetime], tuple[CallResult, bool]]

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {"DepositReceived": call_gateway, "WithdrawalReceived": call_gateway}
)
"""What is done about an event, by its type. One that stands not here becomes a dead letter, and holds up nobody."""
