"""What people settle, at the customers' actors: once, on what they saw, and never what is on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from actors.customer.idempotency import IdempotencyKey
from actors.operations.operator_commands import AdjustRequest, CloseReviewRequest, ResolveRequest
from actors.replies import Accepted, Adjusted, Closed, NotStored, Replayed
from domain.account import Refused, Status
from domain.commands import Adjust, CloseReview, Resolve
from domain.money import Money
from domain.outcomes import Approved, Unknown
from store.codec import Metadata
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import WorkItem
from tests.actors.customers import DEADLINE_S, Customers, answer
from tests.actors.support import Trouble, TroubledStore, stream

AWAY = StoreUnavailableError("away")
UNCERTAIN = CommitUncertainError("cut")
WHO = Metadata("r-8", who="ann", reason="asked", evidence="ticket 7")


def resolve(
    customers: Customers, item: WorkItem, *, completed: bool = True, version: int | None = None
) -> ResolveRequest:
    """A person settles the item's transaction as he sees it now, with its work."""
    version = customers.transaction(item.work_id).version if version is None else version
    request = resolution(customers, item, Resolve(item.work_id, completed, version, "asked by telephone"))
    customers.router.tell(item.stream, request)
    return request


def resolution(customers: Customers, item: WorkItem, command: Resolve) -> ResolveRequest:
    """What the API makes of it."""
    work = customers.real.work("main", item.work_id)
    request = ResolveRequest.on(work, command, WHO)
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    return request


def adjust(customers: Customers, minor: int, *, key: str | None = None, customer: str = "c1") -> AdjustRequest:
    """A person corrects a balance."""
    command = Adjust(customers.runtime.new_id(), Money(minor, "USD"), "asked", "ticket 7")
    once = None if key is None else IdempotencyKey("idempotency:adjustment:main", key, str(minor))
    request = AdjustRequest(command, WHO, once)
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    customers.router.tell(stream(customer), request)
    return request


def available(customers: Customers, customer: str = "c1") -> int:
    """What the customer has in USD."""
    view = customers.real.customer(stream(customer))
    return 0 if view is None else dict(view.balances)["USD"].available


def unknown(customers: Customers) -> WorkItem:
    """A deposit of which nobody knows what became, and that is not sent again by itself."""
    item = replace(customers.deposited(), attempts=customers.policy.max_retries)
    customers.report(item, Unknown("timeout"))
    customers.run()
    return item


# resolutions


@pytest.mark.parametrize("completed", [True, False])
def test_a_resolution_ends_the_transaction_and_its_work(customers: Customers, *, completed: bool) -> None:
    """With who, why and on what in its events; a late answer changes nothing."""
    item = unknown(customers)
    request = resolve(customers, item, completed=completed)
    customers.run()
    assert isinstance(answer(request), Accepted)
    end = customers.transaction(item.work_id)
    assert end.status is (Status.COMPLETED if completed else Status.FAILED)
    assert customers.real.work_counts() == {}
    last = customers.real.stream_events(item.stream, after=2, limit=10)
    assert all(b'"evidence":"ticket 7"' in event.body and b'"who":"ann"' in event.body for event in last)


def test_on_its_way_it_cannot_be_settled(customers: Customers) -> None:
    """A pending transaction that is no dead letter: a call may be out just now."""
    item = customers.deposited()
    refused = resolve(customers, item)
    customers.run()
    said = answer(refused)
    assert isinstance(said, Refused)
    assert said.code == "still-under-way"
    assert customers.transaction(item.work_id).status is Status.PENDING


def test_a_dead_letter_can_be_settled_while_nobody_takes_it_up(customers: Customers) -> None:
    """Its token fences the resolution."""
    item = customers.dead_letter()
    done = resolve(customers, item)
    customers.run()
    assert isinstance(answer(done), Accepted)

    other = customers.dead_letter()
    late = resolve(customers, other, completed=False)
    customers.run(4_000.0)  # it is due
    assert isinstance(answer(late), Accepted)

    third = customers.dead_letter()
    command = Resolve(third.work_id, completed=True, version=customers.transaction(third.work_id).version, reason="r")
    request = resolution(customers, third, command)
    customers.run(4_000.0)
    assert [claimed.work_id for claimed in customers.claim()] == [third.work_id]
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    customers.router.tell(third.stream, request)
    customers.run()
    said = answer(request)
    assert isinstance(said, Refused)
    assert said.code == "dead-letter-busy"
    assert customers.transaction(third.work_id).status is Status.PENDING


def test_what_another_process_did_meanwhile_makes_it_stale(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """The version is confirmed at the stream's head, not in memory."""
    item = unknown(customers)
    version = customers.transaction(item.work_id).version
    other = another_process()
    (claimed,) = other.claim() or other.claim() or [item]
    other.callback(claimed, Approved("A-1", final=True))
    customers.run()
    request = resolve(customers, item, completed=False, version=version)
    customers.run()
    said = answer(request)
    assert isinstance(said, Refused)
    assert said.code == "stale-version"
    assert customers.transaction(item.work_id).status is Status.COMPLETED


@pytest.mark.parametrize("stored", [False, True])
def test_a_resolution_in_doubt_is_told_as_it_is(customers: Customers, store: TroubledStore, *, stored: bool) -> None:
    """One end, and the answer that it is so."""
    item = unknown(customers)
    store.befall("append", Trouble(UNCERTAIN, after=stored), UNCERTAIN)
    request = resolve(customers, item)
    customers.run(DEADLINE_S)
    assert isinstance(answer(request), Accepted)
    assert customers.types()[-2:] == ["DepositProcessed", "DepositCompleted"]
    assert customers.types().count("DepositCompleted") == 1


def test_what_is_just_sent_again_cannot_be_settled(customers: Customers) -> None:
    """Unknown at a gateway with keys, and in hand to be asked again under the same key: the money may move yet."""
    item = customers.deposited()
    customers.report(item, Unknown("timeout"))
    customers.run(10.0)
    assert [claimed.work_id for claimed in customers.claim()] == [item.work_id]
    assert customers.transaction(item.work_id).status is Status.UNKNOWN
    refused = resolve(customers, item, completed=False)
    customers.run()
    said = answer(refused)
    assert isinstance(said, Refused)
    assert said.code == "still-under-way"


def test_a_resolution_that_lost_to_the_provider_is_stale(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """The same end, told by the provider at the same time: his word is on no record, and he hears so."""
    item = unknown(customers)
    other = another_process()
    other.callback(item, Approved(f"A-{item.work_id}", final=True))
    request = resolve(customers, item)
    customers.run(1.0)
    said = answer(request)
    evidence = any(b"ticket 7" in event.body for event in customers.real.stream_events(item.stream, after=0, limit=99))
    assert isinstance(said, Accepted) == evidence


# adjustments


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("key", [None, "k"])
def test_an_adjustment_in_doubt_happens_once(
    customers: Customers, store: TroubledStore, key: str | None, *, stored: bool
) -> None:
    """Whatever became of its first write."""
    customers.completed(minor=1_000)
    store.befall("append", Trouble(UNCERTAIN, after=stored), UNCERTAIN)
    request = adjust(customers, -300, key=key)
    customers.run(DEADLINE_S)
    said = answer(request)
    assert isinstance(said, Adjusted)
    assert said.account.balances["USD"].available == 700
    assert available(customers) == 700
    assert customers.types().count("BalanceAdjusted") == 1


def test_an_adjustment_under_a_key_is_one(customers: Customers, another_process: Callable[[], Customers]) -> None:
    """Here and elsewhere, now and later."""
    customers.completed(minor=1_000)
    requests = [adjust(customers, 5, key="k"), adjust(another_process(), 5, key="k"), adjust(customers, 5, key="k")]
    customers.run(1.0)
    answers = [answer(request) for request in requests]
    (first,) = [said for said in answers if isinstance(said, Adjusted)]
    assert [said for said in answers if said is not first] == [Replayed(first.adjustment_id)] * 2
    assert available(customers) == 1_005
    reused = adjust(customers, 6, key="k")
    customers.run()
    said = answer(reused)
    assert isinstance(said, Refused)
    assert said.code == "idempotency-key-reused"


def test_two_that_are_covered_once(customers: Customers, another_process: Callable[[], Customers]) -> None:
    """No balance below zero, whoever decides."""
    customers.completed(minor=1_000)
    another = another_process()
    another.deposited(minor=1)
    customers.run()
    requests = [adjust(customers, -700), adjust(another, -700)]
    customers.run(1.0)
    assert sorted(type(answer(request)).__name__ for request in requests) == ["Adjusted", "Refused"]
    assert available(customers) == 300


def test_nobodys_balance(customers: Customers) -> None:
    """A customer of whom nothing is on record: refused, and nothing is on record afterwards."""
    refused = adjust(customers, 5, customer="nobody")
    customers.run()
    said = answer(refused)
    assert isinstance(said, Refused)
    assert said.code == "no-such-customer"
    assert customers.real.customer(stream("nobody")) is None


# reviews


def open_review(customers: Customers) -> CloseReviewRequest:
    """Closes a review that is open."""
    item = customers.completed()
    customers.callback(item, Approved("A-other", final=True))
    customers.run()
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    command = CloseReview(view.review.review_id, "looked")
    request = CloseReviewRequest(command, view.review, WHO)
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    return request


@pytest.mark.parametrize("trouble", [None, AWAY, Trouble(UNCERTAIN, after=True), Trouble(UNCERTAIN, after=False)])
def test_a_review_is_closed_once(
    customers: Customers, store: TroubledStore, trouble: Trouble | Exception | None
) -> None:
    """By whoever is first, whatever becomes of the write; everybody hears that it is closed."""
    request = open_review(customers)
    again = CloseReviewRequest(request.command, request.review, WHO)
    again.deadline = request.deadline
    store.befall("append", trouble)
    for one in (request, again):
        customers.router.tell(stream("c1"), one)
    customers.run(DEADLINE_S - 1.0)
    assert customers.types().count("ReviewClosed") == 1
    for one in (request, again):
        assert answer(one) == Closed(request.command.review_id) or isinstance(answer(one), NotStored)
    assert answer(again) == Closed(request.command.review_id)
    view = customers.real.review("main", request.command.review_id)
    assert view is not None
    assert view.review.state == "closed"
