"""Work is never left leased to a process that does not work on it, and an unknown outcome is always looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest

from actors.gateways.retry_policy import next_step
from actors.messages import NotSent
from actors.operations.outcome import OutcomeOperation
from actors.runtime.simulated import SimulatedRuntime
from actors.work import read_context
from domain.account import Status
from domain.outcomes import Approved, Unknown
from store.codec import Metadata
from store.errors import CorruptStoreError
from store.port import Action, MoveWork, WorkItem, WorkState
from store.sqlite.adapter import SqliteStore
from store.sqlite.rows import Row, work_item_of
from tests.actors.customer.fixtures import POLICY, Customers
from tests.actors.support import GATEWAY, OWNER


def test_a_report_that_cannot_be_recorded_gives_its_work_back(
    runtime: SimulatedRuntime, customers: Customers, real_store: SqliteStore
) -> None:
    """When every attempt to record an outcome meets a defect, the work is queued again for any process."""
    item = customers.deposited()
    with patch.object(OutcomeOperation, "decide", side_effect=RuntimeError("a defect")):
        customers.report(item, Approved("A-1", final=True))
        customers.run(60.0)
    runtime.advance(3600.0)
    (again,) = real_store.claim_work(OWNER, GATEWAY, 10)
    assert again.work_id == item.work_id
    assert again.errors
    customers.report(again, Approved("A-1", final=True))
    customers.run()
    assert customers.transaction(item.work_id).status is Status.COMPLETED


def test_a_row_that_cannot_be_read_blocks_no_other(
    runtime: SimulatedRuntime, customers: Customers, real_store: SqliteStore
) -> None:
    """A piece of work that is damaged is parked with the reason; other work is claimed as usual."""
    items = [customers.deposited() for _ in range(3)]
    real_store.retire_owner(OWNER, unsent=True)
    real_store.register_owner(OWNER)
    with patch("store.sqlite.work.work_item_of", side_effect=_damaged(items[1].work_id)):
        claimed = real_store.claim_work(OWNER, GATEWAY, 10)
    assert {item.work_id for item in claimed} == {items[0].work_id, items[2].work_id}
    assert real_store.work_counts()[GATEWAY, WorkState.PARKED] == 1


def _damaged(work_id: str) -> Callable[[Row], WorkItem]:
    """Make a reader that fails at one row and reads the others."""

    def read(row: Row) -> WorkItem:
        if row[0] == work_id:
            raise CorruptStoreError("damaged")
        return work_item_of(row)

    return read


def test_a_payload_that_cannot_be_read_blocks_no_record() -> None:
    """Without a readable context the events carry another correlation id, and nothing else changes."""
    for payload in (b"", b"{", b"[]", b'{"a": 1}', b"5"):
        assert isinstance(read_context(payload), Metadata)


def test_a_contradiction_does_not_close_the_work_of_what_has_no_end(
    runtime: SimulatedRuntime, customers: Customers, real_store: SqliteStore
) -> None:
    """A final answer under another reference opens a review, and the transaction is looked up again."""
    item = customers.deposited()
    customers.report(item, Approved("A-1", final=False))
    customers.run(10.0)
    (lookup,) = real_store.claim_work(OWNER, GATEWAY, 10)
    customers.report(lookup, Approved("A-2", final=True))
    customers.run()
    assert customers.types()[-1] == "ReviewOpened"
    assert customers.transaction(item.work_id).status is Status.PROCESSED
    assert real_store.work_counts() == {(GATEWAY, WorkState.QUEUED): 1}


@pytest.mark.parametrize("status", [Status.PENDING, Status.UNKNOWN])
def test_doubt_is_looked_up_and_never_parked(
    runtime: SimulatedRuntime, customers: Customers, real_store: SqliteStore, status: Status
) -> None:
    """After the last dead letter only work that certainly was not sent waits for an operator."""
    item = replace(customers.deposited(), attempts=POLICY.max_retries + POLICY.dead_letter_attempts)
    doubtful = next_step(item, Unknown("?"), POLICY, now=runtime.now(), chance=0.5, status=Status.UNKNOWN)
    assert isinstance(doubtful, MoveWork)
    assert (doubtful.action, doubtful.state) == (Action.RESOLVE, WorkState.QUEUED)
    refused = next_step(item, NotSent("refused"), POLICY, now=runtime.now(), chance=0.5, status=status)
    assert isinstance(refused, MoveWork)
    looked_up = (Action.RESOLVE, WorkState.QUEUED)
    assert (refused.action, refused.state) == (
        (Action.SUBMIT, WorkState.PARKED) if status is Status.PENDING else looked_up
    )
