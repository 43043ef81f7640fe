"""Callbacks about unknown transactions: stored, matched again, and reviewed after an hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from actors.operations.callback import StoredCallbackOperation
from actors.operations.waiting_callbacks import EVENT_TYPE, MATCHED_WITHIN, queue_of, read_payload, stream_of_gateway
from actors.replies import Taken
from domain.commands import RecordCallback
from domain.gateway_report import Expected, GatewayReport, Source
from domain.money import Money
from domain.outcomes import Approved
from store.errors import CorruptStoreError
from store.port import Action, WorkItem
from tests.actors.customer.fixtures import Customers, answer
from tests.actors.operations.fixtures import claim, reviews, unmatched, work
from tests.actors.support import GATEWAY


def test_an_unmatched_callback_is_kept(customers: Customers) -> None:
    """It is work, once for its event id, and no review yet."""
    assert answer(unmatched(customers, "absent")) == Taken()
    assert answer(unmatched(customers, "absent")) == Taken()
    assert work(customers) == {(queue_of(GATEWAY), "queued"): 1}
    assert reviews(customers) == 0


def test_it_is_applied_once_its_transaction_is_known(customers: Customers) -> None:
    """The process that claims it applies it in the customer's stream; both pieces of work are closed."""
    item = customers.deposited()
    unmatched(customers, item.work_id)
    (claimed,) = claim(customers)
    assert (claimed.action, claimed.event_type, claimed.transaction) == (Action.APPLY, EVENT_TYPE, None)
    command = RecordCallback(
        item.work_id, GATEWAY, f"A-{item.work_id}", Money(10_000, "USD"), Approved(f"A-{item.work_id}", final=True)
    )
    for _ in range(2):  # passed to the actor twice
        customers.router.tell(item.stream, StoredCallbackOperation(claimed, command))
        customers.run()
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert work(customers) == {}


def test_it_is_matched_again_and_reviewed_after_an_hour(customers: Customers) -> None:
    """It is matched at growing intervals; then one review in the gateway's stream, and no work."""
    unmatched(customers, "absent")
    looks = 0
    for _ in range(10_000):
        claimed = claim(customers)
        if claimed:
            looks += 1
            customers.router.tell(stream_of_gateway(GATEWAY), StoredCallbackOperation(claimed[0], None))
        customers.run(10.0)
        if not work(customers):
            break
    assert customers.runtime.monotonic() >= MATCHED_WITHIN.total_seconds()
    assert 5 <= looks <= 20
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    assert (view.stream, view.customer_id, view.review.transaction_id) == (stream_of_gateway(GATEWAY), None, None)
    said = view.review.said
    assert said is not None
    assert (said.source, said.gateway, said.event_id) == (Source.CALLBACK, GATEWAY, "evt-1")
    assert (said.reference, said.amount, said.body, said.body_bytes) == ("absent", "100.0", "{}", 2)
    assert view.review.opened_at - said.at >= MATCHED_WITHIN, "it has the time of its arrival, not of the review"
    assert view.review.expected is None


def test_one_that_is_matched_late_and_contradicts(customers: Customers) -> None:
    """Its review belongs to the transaction, and has the callback's content."""
    item = customers.deposited()
    unmatched(customers, item.work_id)
    (claimed,) = claim(customers)
    money = Money(1, "USD")
    command = RecordCallback(item.work_id, GATEWAY, "A-9", money, Approved("A-9", final=True))
    customers.router.tell(item.stream, StoredCallbackOperation(claimed, command))
    customers.run()
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    assert view.review.transaction_id == item.work_id
    assert view.review.said is not None
    assert (view.review.said.event_id, view.review.said.amount) == ("evt-1", "100.0")
    assert view.review.expected == Expected(GATEWAY, "pending", "100.00", "USD")


def test_one_that_an_earlier_version_stored(customers: Customers) -> None:
    """Its verbatim members were not stored: the review is made from the members that were."""
    before = {
        "event_id": "evt-1",
        "reference": "absent",
        "gateway_reference": "A-9",
        "minor": 750,
        "currency": "USD",
        "completed": False,
        "code": "declined",
        "message": "no",
        "received_at": "2026-11-22T12:00:00.000000Z",
        "correlation_id": "r-1",
        "causation_id": "gatewayA:evt-1",
    }
    at = datetime(2026, 11, 22, 12, tzinfo=UTC)
    item = WorkItem(
        "callback:1", 1, stream_of_gateway(GATEWAY), queue_of(GATEWAY), Action.APPLY, EVENT_TYPE, 0, (), None
    )
    stored = read_payload(replace(item, payload=orjson.dumps(before)))
    assert stored.report == GatewayReport(
        Source.CALLBACK, GATEWAY, at, "evt-1", "absent", "A-9", "failed", amount="7.50", currency="USD"
    )
    assert stored.waits_until == at + MATCHED_WITHIN


def test_a_payload_that_cannot_be_read(customers: Customers) -> None:
    """Any defect of the payload raises the same error."""
    unmatched(customers, "absent")
    (item,) = claim(customers)
    payload = orjson.loads(item.payload or b"")
    odd: list[object] = [None, {}, [], {**payload["said"], "source": "rumour"}, {**payload["said"], "at": "now"}]
    for said in odd:
        with pytest.raises(CorruptStoreError):
            read_payload(replace(item, payload=orjson.dumps({**payload, "said": said})))


def test_a_stale_look_moves_nothing(customers: Customers) -> None:
    """A process that lost the lease of a stored callback changes nothing."""
    unmatched(customers, "absent")
    (stale,) = claim(customers)
    customers.real.retire_owner(customers.owner, unsent=True)
    customers.real.register_owner(customers.owner)
    claim(customers)
    customers.router.tell(stream_of_gateway(GATEWAY), StoredCallbackOperation(stale, None))
    customers.run()
    assert work(customers) == {(queue_of(GATEWAY), "leased"): 1}
