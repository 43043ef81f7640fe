"""Policies, pieces of work and results for the tables of the retry policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from actors.gateways.retry_policy import RetryPolicy
from actors.messages import NotSent, NotTried, Unhandled
from domain.account import Status
from domain.events import Kind
from domain.outcomes import Approved, Category, Declined, NotReceived, Unknown
from gateways.port import LookupMeans, OperationFacts
from store.port import Action, DeliveryCertainty, WorkItem, WorkState
from tests.actors.gateways.fixtures import work as a_piece_of_work
from tests.gateway_facts import WINDOW_S, operations_with

KEYS: Final = RetryPolicy(
    operations=operations_with(keys=True),
    max_retries=3,
    lookup_after_s=(5.0, 30.0, 120.0),
    dead_letter_first_s=10.0,
    dead_letter_max_s=100.0,
    dead_letter_attempts=5,
)
NO_KEYS: Final = replace(KEYS, operations=operations_with(keys=False))
NO_LOOKUPS: Final = replace(KEYS, operations=operations_with(keys=True, looks_up=False))
REPEATS: Final = replace(KEYS, operations=dict.fromkeys(Kind, OperationFacts(WINDOW_S, LookupMeans.REPEAT)))
"""Sending again under the same key is the lookup."""

SUBMIT, RESOLVE = Action.SUBMIT, Action.RESOLVE
QUEUED, DEAD, PARKED = WorkState.QUEUED, WorkState.DEAD, WorkState.PARKED
FINAL, PENDING = Approved("A-1", final=True), Approved("A-1", final=False)
DECLINED = Declined("do_not_honor", Category.HARD, "no")
NOT_SENT, UNKNOWN, NEVER = NotSent("refused"), Unknown("timeout"), NotReceived()
NOT_TRIED, UNHANDLED = NotTried("the breaker opened"), Unhandled("nothing handles it")
NONE, LEASE_LOST, SENT = DeliveryCertainty


def work(action: Action = SUBMIT, attempts: int = 0, status: Status = Status.PENDING, **changes: Any) -> WorkItem:
    """A piece of work of a transaction that was created at EPOCH."""
    item = a_piece_of_work()
    assert item.transaction is not None
    transaction = replace(item.transaction, transaction_id="t-1", status=status)
    item = replace(item, work_id="t-1", action=action, attempts=attempts, transaction=transaction)
    return replace(item, **changes)
