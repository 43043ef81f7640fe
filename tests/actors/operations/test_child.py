"""Refunds, captures and voids in a customer's stream: with their parents, in one append, and each at most once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from actors.customer.idempotency import IdempotencyKey
from actors.messages import CallResult, NotSent, Passivate, WorkDue
from actors.operations.callback import Callback, CallbackOperation
from actors.operations.child import ChildOperation
from actors.operations.receive import ReceiveOperation
from actors.operations.resolve import ResolveOperation
from actors.replies import Accepted, Replayed
from domain.account import Refused, Status, Transaction
from domain.commands import Receive, ReceiveChild, RecordCallback, Resolution, Resolve
from domain.events import Authorized, Kind
from domain.money import Money
from domain.outcomes import (
    AUTHORIZATION_CANCELLED,
    DUPLICATE_TRANSACTION,
    Approved,
    Authorization,
    Declined,
    Outcome,
    Unknown,
)
from store.codec import Metadata
from store.port import Action, WorkItem
from tests.actors.customer.fixtures import POLICY, Customers, answer
from tests.actors.operations.fixtures import WHO, available, reviews, work
from tests.actors.support import GATEWAY, TroubledStore, stream

NO = Declined("do_not_honor", None, "no")
GONE = Declined(AUTHORIZATION_CANCELLED, None, "cancelled")
HOLD_S = POLICY.authorization_expires_s


def authorized(customers: Customers, minor: int = 10_000) -> WorkItem:
    """A deposit that the gateway holds."""
    command = Receive(Kind.DEPOSIT, customers.runtime.new_id(), GATEWAY, Money(minor, "USD"), {}, manual_capture=True)
    customers.send_command(stream(), ReceiveOperation(command, Metadata("r-1")))
    customers.run()
    item = customers.handed_over()[-1]
    customers.report(item, Authorization("A-1"))
    customers.run()
    assert customers.transaction(item.work_id).status is Status.AUTHORIZED
    return item


def child(
    customers: Customers, kind: Kind, parent: WorkItem, minor: int | None = None, *, key: str | None = None
) -> ChildOperation:
    """Send a refund, capture or void of the item's transaction."""
    command = ReceiveChild(kind, customers.runtime.new_id(), parent.work_id, minor)
    once = None if key is None else IdempotencyKey(f"idempotency:{kind}:main", key, f"{parent.work_id} {minor}")
    return customers.send_command(stream(), ChildOperation(command, Metadata("r-2"), once))


def under_way(customers: Customers, kind: Kind, parent: WorkItem, minor: int | None = None) -> WorkItem:
    """A refund, capture or void that is stored, and its work as the supervisor got it."""
    request = child(customers, kind, parent, minor)
    customers.run()
    assert isinstance(answer(request), Accepted)
    return customers.handed_over()[-1]


def done(customers: Customers, kind: Kind, parent: WorkItem, minor: int | None = None) -> WorkItem:
    """A refund, capture or void that is completed."""
    item = under_way(customers, kind, parent, minor)
    customers.report(item, Approved(f"A-{item.work_id}", final=True))
    customers.run()
    return item


def amounts(transaction: Transaction) -> tuple[int | None, int, int]:
    """What was captured, refunded, and is being refunded."""
    return transaction.captured_minor, transaction.refunded_minor, transaction.refunding_minor


def restarted(customers: Customers) -> None:
    """Stop the idle customer's actor: the next one begins without its state."""
    customers.router.tell(stream(), Passivate())
    customers.run()


@pytest.mark.parametrize("cached", [True, False])
def test_a_refund_takes_from_the_balance_and_from_what_is_left(customers: Customers, *, cached: bool) -> None:
    """It is stored with its work, its reserve and the row of its parent, also by an actor that knows neither."""
    parent = customers.completed()
    if not cached:
        restarted(customers)
    item = under_way(customers, Kind.REFUND, parent, 4_000)
    assert (item.action, item.event_type, item.gateway) == (Action.SUBMIT, "RefundReceived", GATEWAY)
    assert amounts(customers.transaction(parent.work_id)) == (None, 0, 4_000)
    refund = customers.transaction(item.work_id)
    assert (refund.parent_id, refund.parent_reference) == (parent.work_id, f"A-{parent.work_id}")
    assert available(customers) == 6_000
    if not cached:
        restarted(customers)
    customers.report(item, Approved("A-9", final=True))
    customers.run()
    assert customers.types()[-3:] == ["RefundReceived", "RefundProcessed", "RefundCompleted"]
    assert amounts(customers.transaction(parent.work_id)) == (None, 4_000, 0)
    assert available(customers) == 6_000
    assert work(customers) == {}


def test_a_failed_refund_gives_its_amount_back(customers: Customers) -> None:
    """To the balance, and to what is left to refund."""
    parent = customers.completed()
    item = under_way(customers, Kind.REFUND, parent)
    customers.report(item, NO)
    customers.run()
    assert amounts(customers.transaction(parent.work_id)) == (None, 0, 0)
    assert available(customers) == 10_000
    assert isinstance(answer_of(customers, child(customers, Kind.REFUND, parent)), Accepted)


def answer_of(customers: Customers, request: ChildOperation) -> object:
    """The answer to ``request``, once everything has run."""
    customers.run()
    return answer(request)


def test_refunds_that_come_together_share_what_is_left(customers: Customers) -> None:
    """Each is decided after the one before it, in one batch."""
    parent = customers.completed()
    requests = [child(customers, Kind.REFUND, parent, 4_000) for _ in range(3)]
    customers.run()
    replies = [answer(request) for request in requests]
    assert [isinstance(reply, Accepted) for reply in replies] == [True, True, False]
    assert isinstance(replies[2], Refused)
    assert replies[2].code == "amount-too-large"


def test_a_capture_completes_its_parent_in_one_append(customers: Customers, store: TroubledStore) -> None:
    """The end of both, their rows, the balance and the work of both are in one write."""
    parent = authorized(customers)
    item = under_way(customers, Kind.CAPTURE, parent, 6_000)
    store.batches.clear()
    customers.report(item, Approved("A-9", final=True))
    customers.run()
    assert customers.types()[-3:] == ["CaptureProcessed", "CaptureCompleted", "DepositCompleted"]
    (batch,) = store.batches
    assert [row.transaction_id for write in batch for row in write.transactions] == [item.work_id, parent.work_id]
    assert amounts(customers.transaction(parent.work_id)) == (6_000, 0, 0)
    assert available(customers) == 6_000
    assert work(customers) == {}


def test_a_void_ends_its_parent_in_one_append(customers: Customers, store: TroubledStore) -> None:
    """Nothing moved, and nothing is left to do."""
    parent = authorized(customers)
    item = under_way(customers, Kind.VOID, parent)
    store.batches.clear()
    customers.report(item, Approved("A-9", final=True))
    customers.run()
    assert customers.types()[-3:] == ["VoidProcessed", "VoidCompleted", "DepositVoided"]
    assert len(store.batches) == 1
    assert customers.transaction(parent.work_id).status is Status.VOIDED
    assert work(customers) == {}


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID])
def test_after_a_failed_end_the_hold_is_looked_up(customers: Customers, kind: Kind) -> None:
    """The parent is authorized as before, its lookup is due at once, and it may be captured again."""
    parent = authorized(customers)
    item = under_way(customers, kind, parent)
    customers.scheduler.messages.clear()
    customers.report(item, NO)
    customers.run()
    assert customers.transaction(parent.work_id).status is Status.AUTHORIZED
    assert customers.scheduler.of(WorkDue) == [WorkDue(GATEWAY, 0.0)]
    (lookup,) = customers.claim()
    assert (lookup.work_id, lookup.action) == (parent.work_id, Action.RESOLVE)
    assert isinstance(answer_of(customers, child(customers, Kind.CAPTURE, parent)), Accepted)


def test_a_capture_of_a_hold_that_is_gone_fails_with_its_parent(customers: Customers) -> None:
    """In one append; nothing is left to do."""
    parent = authorized(customers)
    item = under_way(customers, Kind.CAPTURE, parent)
    customers.report(item, GONE)
    customers.run()
    assert customers.types()[-2:] == ["CaptureFailed", "DepositFailed"]
    failed = customers.transaction(parent.work_id)
    assert failed.failure is not None
    assert failed.failure.code == AUTHORIZATION_CANCELLED
    assert work(customers) == {}


def test_the_outcome_of_a_capture_decides_not_a_report_about_its_parent(customers: Customers) -> None:
    """While it is under way, "cancelled" about the parent changes nothing; its own outcome completes both."""
    parent = authorized(customers)
    item = under_way(customers, Kind.CAPTURE, parent)
    callback(customers, parent, GONE)
    assert customers.transaction(parent.work_id).status is Status.AUTHORIZED
    customers.report(item, Unknown("timeout"))
    customers.run()
    customers.callback(item, Approved("A-9", final=True), event_id="evt-2")
    customers.run()
    assert customers.transaction(parent.work_id).status is Status.COMPLETED
    assert (work(customers), reviews(customers)) == ({}, 0)


def callback(customers: Customers, item: WorkItem, outcome: Outcome, reference: str = "A-1") -> None:
    """Report ``outcome`` of the item's transaction by a callback."""
    command = RecordCallback(item.work_id, GATEWAY, reference, Money(10_000, "USD"), outcome)
    request = CallbackOperation(Callback(GATEWAY, "evt-1", b"{}"), Metadata("r-7"), command=command)
    customers.send_command(stream(), request)
    customers.run()


@pytest.mark.parametrize("reported", [None, timedelta(days=2), timedelta(days=30)])
def test_a_hold_is_looked_up_at_its_end_and_daily_after(customers: Customers, reported: timedelta | None) -> None:
    """Its end is reported by the gateway, or set. A lookup is never planned later than a hold usually takes."""
    command = Receive(Kind.DEPOSIT, customers.runtime.new_id(), GATEWAY, Money(100, "USD"), {}, manual_capture=True)
    customers.send_command(stream(), ReceiveOperation(command, Metadata("r-1")))
    customers.run()
    item = customers.handed_over()[-1]
    until = None if reported is None else customers.runtime.now() + reported
    customers.report(item, Authorization("A-1", until))
    customers.run()
    held_s = HOLD_S if reported is None else min(reported.total_seconds(), HOLD_S)
    assert customers.dues()[-1].delay_s == pytest.approx(held_s)
    customers.run(held_s + 1)
    (lookup,) = customers.claim()
    assert lookup.action is Action.RESOLVE
    customers.report(lookup, Authorization("A-1", until))
    customers.run()
    left_s = timedelta(days=30).total_seconds() - held_s - 1 if reported == timedelta(days=30) else 0.0
    assert customers.dues()[-1].delay_s == pytest.approx(min(left_s, HOLD_S) if left_s > 0 else 86_400.0)
    assert customers.transaction(item.work_id).status is Status.AUTHORIZED


def test_a_callback_authorizes_and_plans_the_lookup(customers: Customers) -> None:
    """Under a new token, so that the late answer of the call changes nothing."""
    command = Receive(Kind.DEPOSIT, customers.runtime.new_id(), GATEWAY, Money(10_000, "USD"), {}, manual_capture=True)
    customers.send_command(stream(), ReceiveOperation(command, Metadata("r-1")))
    customers.run()
    item = customers.handed_over()[-1]
    callback(customers, item, Authorization("A-1"))
    assert customers.types() == ["DepositReceived", "DepositAuthorized"]
    assert customers.dues()[-1].delay_s == pytest.approx(HOLD_S)
    customers.report(item, Unknown("timeout"))
    customers.run()
    assert customers.types() == ["DepositReceived", "DepositAuthorized"]
    assert work(customers) == {(GATEWAY, "queued"): 1}


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID])
def test_a_refusal_that_time_may_lift_is_not_recorded_under_its_key(customers: Customers, kind: Kind) -> None:
    """The same command under the same key is accepted once the obstacle is gone."""
    parent = authorized(customers)
    first = under_way(customers, Kind.CAPTURE, parent, 100)
    refused = answer_of(customers, child(customers, kind, parent, key="k-1"))
    assert isinstance(refused, Refused)
    assert refused.code == "not-possible-now"
    assert customers.real.claimed(f"idempotency:{kind}:main", "k-1") is None
    customers.report(first, NO)
    customers.run()
    assert isinstance(answer_of(customers, child(customers, kind, parent, key="k-1")), Accepted)


def test_an_amount_above_what_is_left_is_refused_for_good(customers: Customers) -> None:
    """The refusal is recorded under the key, and replayed once the amount would fit."""
    parent = customers.completed()
    other = under_way(customers, Kind.REFUND, parent, 5_000)
    assert isinstance(answer_of(customers, child(customers, Kind.REFUND, parent, 6_000, key="k-1")), Refused)
    customers.report(other, NO)
    customers.run()
    again = answer_of(customers, child(customers, Kind.REFUND, parent, 6_000, key="k-1"))
    assert isinstance(again, Refused)
    assert again.replayed


def test_a_repeated_refund_under_its_key_is_the_first_one(customers: Customers) -> None:
    """However often it is sent, although the amount would not fit twice."""
    parent = customers.completed()
    first = answer_of(customers, child(customers, Kind.REFUND, parent, 6_000, key="k-1"))
    assert isinstance(first, Accepted)
    again = answer_of(customers, child(customers, Kind.REFUND, parent, 6_000, key="k-1"))
    assert again == Replayed(first.transaction.transaction_id)
    assert customers.types().count("RefundReceived") == 1


@pytest.mark.parametrize(
    ("outcome", "manual", "refused"),
    [
        (Resolution.AUTHORIZED, True, None),
        (Resolution.FAILED, True, None),
        (Resolution.COMPLETED, True, "not-possible-now"),
        (Resolution.AUTHORIZED, False, "not-possible-now"),
    ],
)
def test_an_operator_resolves_an_authorization_as_authorized_or_failed(
    customers: Customers, outcome: Resolution, refused: str | None, *, manual: bool
) -> None:
    """An authorized one waits for its end; nothing else can be authorized."""
    command = Receive(Kind.DEPOSIT, customers.runtime.new_id(), GATEWAY, Money(100, "USD"), {}, manual_capture=manual)
    customers.send_command(stream(), ReceiveOperation(command, Metadata("r-1")))
    customers.run()
    item = customers.handed_over()[-1]
    for _ in range(POLICY.max_retries + 1):
        customers.report(item, Unknown("timeout"))
        customers.run()
        customers.run(10)
        item = (customers.claim() or [item])[0]
    customers.report(item, Unknown("timeout"))
    customers.run()
    version = customers.transaction(item.work_id).version
    seen = customers.real.work("main", item.work_id)
    resolution = ResolveOperation.on(seen, Resolve(item.work_id, outcome, version, "asked"), WHO)
    customers.send_command(stream(), resolution)
    customers.run()
    said = answer(resolution)
    if refused is not None:
        assert isinstance(said, Refused)
        assert said.code == refused
        return
    assert isinstance(said, Accepted)
    assert said.transaction.status.value == outcome.value
    if outcome is Resolution.AUTHORIZED:
        event = customers.events()[-1].event
        assert isinstance(event, Authorized)
        assert event.expires_at == customers.runtime.now() + timedelta(seconds=HOLD_S)
        assert work(customers) == {(GATEWAY, "queued"): 1}
    else:
        assert work(customers) == {}


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID])
def test_after_a_discarded_end_the_hold_is_looked_up(customers: Customers, kind: Kind) -> None:
    """The report about the parent that came meanwhile changed nothing, so its lookup is due at once."""
    parent = authorized(customers)
    item = under_way(customers, kind, parent)
    customers.report(replace(item, attempts=POLICY.max_retries), NotSent("refused"))
    customers.run()
    callback(customers, parent, GONE)
    customers.scheduler.messages.clear()
    request = customers.discard(customers.letter(item))
    customers.run()
    assert isinstance(answer(request), Accepted)
    assert customers.transaction(parent.work_id).status is Status.AUTHORIZED
    assert customers.scheduler.of(WorkDue) == [WorkDue(GATEWAY, 0.0)]
    (lookup,) = customers.claim()
    assert (lookup.work_id, lookup.action) == (parent.work_id, Action.RESOLVE)


@pytest.mark.parametrize("lookup_first", [False, True])
def test_a_lookup_that_a_failed_capture_makes_due_outlasts_an_earlier_answer(
    customers: Customers, *, lookup_first: bool
) -> None:
    """The answer of a lookup from before is decided in the same batch, and delays nothing."""
    parent = authorized(customers)
    customers.run(HOLD_S + 1)
    item = under_way(customers, Kind.CAPTURE, parent)
    (lookup,) = customers.claim()
    customers.send()  # its write is in flight, so that the reports are decided together
    reports: list[tuple[WorkItem, CallResult]] = [(item, NO), (lookup, Authorization("A-1"))]
    for work_item, result in reversed(reports) if lookup_first else reports:
        customers.report(work_item, result)
    customers.run()
    (again,) = customers.claim()
    assert (again.work_id, again.action) == (parent.work_id, Action.RESOLVE)


@pytest.mark.parametrize("kind", [Kind.CAPTURE, Kind.VOID])
def test_a_hold_that_was_ended_before_is_reviewed(customers: Customers, kind: Kind) -> None:
    """The gateway has done it, and the record lacks it: an operator must look, and can then confirm the capture."""
    parent = authorized(customers)
    item = under_way(customers, kind, parent)
    customers.report(item, Declined(DUPLICATE_TRANSACTION, None, "done before"))
    customers.run()
    assert customers.transaction(parent.work_id).status is Status.AUTHORIZED
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    assert view.review.transaction_id == parent.work_id
    version = customers.transaction(parent.work_id).version
    seen = customers.real.work("main", parent.work_id)
    command = Resolve(parent.work_id, Resolution.COMPLETED, version, "asked")
    customers.send_command(stream(), ResolveOperation.on(seen, command, WHO))
    customers.run()
    assert amounts(customers.transaction(parent.work_id)) == (10_000, 0, 0)
    assert available(customers) == 10_000
    assert work(customers) == {}


def test_a_failed_lookup_of_a_hold_begins_the_schedule(customers: Customers) -> None:
    """It is repeated soon, and is no dead letter at once."""
    authorized(customers)
    customers.run(HOLD_S + 1)
    for wait_s in POLICY.lookup_after_s[1:]:
        (lookup,) = customers.claim()
        customers.report(lookup, Unknown("timeout"))
        customers.run()
        assert customers.dues()[-1].delay_s == wait_s
        customers.run(wait_s)
    assert work(customers) == {(GATEWAY, "queued"): 1}
