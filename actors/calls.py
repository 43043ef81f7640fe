"""One call to a gateway for one piece of work. Knows no actor; whatever goes wrong comes back as a value."""

from __future__ import annotations

from datetime import datetime, timedelta

from actors.messages import CallResult, NotSent
from domain.account import Transaction
from domain.outcomes import NotReceived, NotSentError, OutcomeUnknownError, Unknown
from gateways.port import Gateway, Order
from store.port import Action, WorkItem


def call_gateway(gateway: Gateway, item: WorkItem, now: datetime) -> tuple[CallResult, bool]:
    """Do ``item`` at ``gateway``: its result, and whether the gateway is technically healthy. Blocks.

    A defect in an adapter is an unknown outcome: the request may have gone out.
    """
    transaction = item.transaction
    if transaction is None:
        return NotSent("the work names no transaction"), True
    order = Order(
        transaction.transaction_id, transaction.kind, transaction.money, transaction.customer_id, transaction.details
    )
    try:
        if item.action is Action.RESOLVE:
            return gateway.lookup(order), True
        if _key_may_be_forgotten(gateway, transaction, now):
            found = gateway.lookup(order)
            if not isinstance(found, NotReceived):
                return found, True
        return gateway.submit(order), True
    except NotSentError as error:
        return NotSent(str(error) or "not sent"), False
    except OutcomeUnknownError as error:
        return Unknown(str(error) or "the outcome is not known"), False
    except BaseException as error:  # noqa: BLE001  # whatever an adapter raises: the money may have moved
        return Unknown(f"the adapter failed: {error!r}"), False


def _key_may_be_forgotten(gateway: Gateway, transaction: Transaction, now: datetime) -> bool:
    """Whether the provider may not know again what was sent under this key; whether anything was, a crash hides.

    Half of what it promises: so far may the wall clock have been wrong when the transaction was received or be now.
    """
    age = now - transaction.created_at
    return gateway.honours_keys and not timedelta(0) <= age <= timedelta(seconds=gateway.idempotency_window_s / 2)
