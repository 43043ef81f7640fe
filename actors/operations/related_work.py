"""Shared by operations that advance a transaction: its work from then on, and the work of its parent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from actors.customer.context import CustomerContext
from actors.customer.operation import Batch
from actors.gateways.retry_policy import AUTHORIZATION_EXPIRES_S, RetryPolicy
from actors.messages import WorkDue
from domain.account import Status, Transaction
from domain.events import TRANSACTION_EVENTS, Event, Failed
from store.port import Action, CloseWork, DeliveryCertainty, MoveWork, WorkChange, WorkState


def expiry_of(gateway: str, now: datetime, context: CustomerContext) -> datetime:
    """The end of a hold that begins now, when the gateway reports none."""
    policy = context.policies.get(gateway)
    return now + timedelta(seconds=AUTHORIZATION_EXPIRES_S if policy is None else policy.authorization_expires_s)


def work_after(transaction: Transaction, policy: RetryPolicy | None, now: datetime) -> WorkChange:
    """The work of a transaction that was advanced without a call for it: by a callback, or by an operator.

    ``policy``: its gateway's; None when that is no longer configured.
    """
    waits = () if policy is None else policy.lookup_after_s
    if transaction.status.terminal:
        return CloseWork(transaction.transaction_id)
    if transaction.status is Status.AUTHORIZED:
        assert transaction.authorization_expires_at is not None  # every authorization has one
        held_s = (transaction.authorization_expires_at - now).total_seconds()
        delay_s = 0.0 if policy is None else policy.hold_lookup_s(held_s)
        return _lookup(transaction.transaction_id, delay_s)
    return _lookup(transaction.transaction_id, waits[0] if waits else 0.0)


def parents_work(batch: Batch, transaction_id: str, events: Sequence[Event]) -> tuple[WorkChange, ...]:
    """The work of the parent after ``events`` that were decided for the transaction, and that the batch has recorded.

    It is closed when the parent has ended. When a capture or void failed, the gateway is asked now whether it still
    holds the money: reports about the parent that came meanwhile changed nothing.
    """
    child = batch.known(transaction_id)
    if child.parent_id is None or not child.kind.ends_authorization:
        return ()
    parent = batch.known(child.parent_id)
    if parent.status.terminal and _advances(events, parent.transaction_id):
        return (CloseWork(parent.transaction_id),)
    if any(isinstance(event, Failed) and event.transaction_id == transaction_id for event in events):
        return (_lookup(parent.transaction_id, 0.0),)
    return ()


def announce(changes: Iterable[WorkChange], gateway: str, context: CustomerContext) -> None:
    """Request a timer for moved work from the scheduler."""
    for change in changes:
        if isinstance(change, MoveWork):
            context.scheduler.tell(WorkDue(gateway, change.delay_s))


def _lookup(transaction_id: str, delay_s: float) -> MoveWork:
    """A lookup with which the schedule begins."""
    state, sent = WorkState.QUEUED, DeliveryCertainty.SENT
    return MoveWork(transaction_id, Action.RESOLVE, state, delay_s, 0, (), certainty=sent)


def _advances(events: Iterable[Event], transaction_id: str) -> bool:
    return any(isinstance(event, TRANSACTION_EVENTS) and event.transaction_id == transaction_id for event in events)
