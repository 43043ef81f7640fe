"""Callbacks: stored and applied in one commit, once for each event id."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.operations.callback import Callback, CallbackOperation
from actors.operations.waiting_callbacks import stream_of_gateway
from actors.replies import NotStored, Taken
from domain.account import Status
from domain.outcomes import Approved
from store.codec import Metadata
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.operations.fixtures import AWAY, NO, UNCERTAIN, approval, reviews, work
from tests.actors.support import GATEWAY, Trouble, TroubledStore


@pytest.mark.parametrize("outcome", [True, False])
def test_a_callback_ends_the_transaction_and_its_work(customers: Customers, *, outcome: bool) -> None:
    """One commit: the claim, the events, the end of the work; the late answer of the call changes nothing."""
    item = customers.deposited()
    request = customers.callback(item, approval(item) if outcome else NO)
    customers.run()
    assert answer(request) == Taken()
    end = customers.transaction(item.work_id)
    assert end.status is (Status.COMPLETED if outcome else Status.FAILED)
    assert work(customers) == {}
    before = customers.types()
    customers.report(item, Approved(f"A-{item.work_id}", final=False) if outcome else NO)
    customers.run()
    assert customers.types() == before
    assert reviews(customers) == 0


@pytest.mark.parametrize("at_once", [True, False])
def test_copies_are_one(customers: Customers, *, at_once: bool) -> None:
    """Together or one after the other, here or elsewhere: all are answered, and one is applied."""
    item = customers.deposited()
    requests = []
    for _ in range(4):
        requests.append(customers.callback(item, approval(item)))
        if not at_once:
            customers.run()
    customers.run()
    assert [answer(request) for request in requests] == [Taken()] * 4
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]


def test_copies_are_one_over_all_processes(customers: Customers, another_process: Callable[[], Customers]) -> None:
    """Two processes that get it at once apply it once."""
    other = another_process()
    item = customers.deposited()
    requests = [customers.callback(item, approval(item)), other.callback(item, approval(item))]
    customers.run(1.0)
    assert [answer(request) for request in requests] == [Taken()] * 2
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]


def test_the_event_names_its_callback(customers: Customers) -> None:
    """Each event that a callback leads to names the callback."""
    item = customers.deposited()
    customers.callback(item, approval(item), event_id="evt-9")
    customers.run()
    stored = customers.real.stream_events(item.stream, after=1, limit=10)
    assert all(b'"causation_id":"gatewayA:evt-9"' in event.body for event in stored)
    assert len(stored) == 2


@pytest.mark.parametrize("copies", [1, 3])
def test_what_contradicts_is_reviewed_once(customers: Customers, copies: int) -> None:
    """One review for an event id, none for its repetitions; another event id is another one."""
    item = customers.completed()
    for _ in range(copies):
        customers.callback(item, NO, event_id="evt-2")
        customers.run()
    assert reviews(customers) == 1
    customers.callback(item, NO, event_id="evt-3")
    customers.run()
    assert reviews(customers) == 2
    assert customers.transaction(item.work_id).status is Status.COMPLETED


def test_another_amount_is_reviewed_and_the_work_goes_on(customers: Customers) -> None:
    """It may be about another payment, so it settles nothing."""
    item = customers.deposited()
    request = customers.callback(item, approval(item), minor=1)
    customers.run()
    assert answer(request) == Taken()
    assert reviews(customers) == 1
    assert customers.transaction(item.work_id).status is Status.PENDING
    assert work(customers) == {(GATEWAY, "leased"): 1}


def test_one_event_id_with_two_bodies(customers: Customers) -> None:
    """The first is applied; that it came with another body is reviewed once, however often."""
    item = customers.deposited()
    customers.callback(item, approval(item), body=b"one")
    customers.run()
    for body in (b"two", b"two", b"three"):
        request = customers.callback(item, NO, body=body)
        customers.run()
        assert answer(request) == Taken()
    assert reviews(customers) == 1
    assert customers.transaction(item.work_id).status is Status.COMPLETED
    customers.callback(item, approval(item), body=b"one")
    customers.run()
    assert reviews(customers) == 1


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (b'{"at":176440******4321}', b'{"at":1764406789054321}'),
        (b'{"at":176440******4321}', b'{"at":"176440******4321"}'),
        (b'{"at":"1764406789054321"}', b'{"at":"176440******4321"}'),
    ],
)
def test_one_that_another_version_masked_differently(customers: Customers, before: bytes, now: bytes) -> None:
    """The masking of card numbers may change with the version: a repetition is still recognised."""
    item = customers.deposited()
    customers.callback(item, approval(item), body=before)
    customers.run()
    again = customers.callback(item, approval(item), body=now)
    customers.run()
    assert answer(again) == Taken()
    assert reviews(customers) == 0
    customers.callback(item, approval(item), body=now.replace(b"at", b"by"))
    customers.run()
    assert reviews(customers) == 1


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("then", [AWAY, UNCERTAIN, None])
def test_a_commit_in_doubt_applies_it_once(
    customers: Customers, store: TroubledStore, *, stored: bool, then: Exception | None
) -> None:
    """Whether or not the first write was stored: one application, and a correct answer."""
    item = customers.deposited()
    store.inject("append", Trouble(UNCERTAIN, after=stored), then)
    request = customers.callback(item, approval(item))
    customers.run(DEADLINE_S)
    assert answer(request) == Taken()
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert reviews(customers) == 0


def test_a_callback_that_is_not_stored_is_applied_when_repeated(customers: Customers, store: TroubledStore) -> None:
    """A callback that is answered "not stored" is not stored, and its repetition is applied."""
    item = customers.deposited()
    store.inject("append", AWAY)
    first = customers.callback(item, approval(item))
    customers.run(1.0)
    again = customers.callback(item, approval(item))
    customers.run()
    assert isinstance(answer(first), NotStored)
    assert answer(again) == Taken()
    assert customers.transaction(item.work_id).status is Status.COMPLETED


def test_neighbours_of_a_repetition_are_stored(customers: Customers) -> None:
    """A repetition in a batch affects no other operation of it."""
    items = [customers.deposited() for _ in range(3)]
    customers.callback(items[0], approval(items[0]), event_id="evt-0")
    customers.run()
    for number, item in enumerate(items):
        customers.callback(item, approval(item), event_id=f"evt-{number}")
    customers.run()
    assert {customers.transaction(item.work_id).status for item in items} == {Status.COMPLETED}
    assert reviews(customers) == 0


@pytest.mark.parametrize("copies", [1, 3])
def test_one_that_cannot_be_read_is_reviewed_once(customers: Customers, copies: int) -> None:
    """It is kept as received, and a review is opened."""
    for _ in range(copies):
        callback = Callback(GATEWAY, "evt-1", b"\xff")
        request = CallbackOperation(callback, Metadata("r-7"), problem="A callback cannot be read: not JSON")
        request.deadline = customers.runtime.monotonic() + DEADLINE_S
        customers.router.tell(stream_of_gateway(GATEWAY), request)
        customers.run()
        assert answer(request) == Taken()
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    assert view.review.reason == "A callback cannot be read: not JSON"
    assert view.review.said is not None
    assert (view.review.said.event_id, view.review.said.body, view.review.said.body_bytes) == ("evt-1", "\\xff", 1)
    assert work(customers) == {}


def test_a_body_shows_nowhere() -> None:
    """The body that a provider sent is in no text that may reach a log or an error."""
    callback = Callback(GATEWAY, "evt-1", b"what was sent")
    assert "sent" not in f"{callback!r} {callback} {callback.claim!r}"
    assert "evt-1" in repr(callback)
    assert "evt-1" in repr(callback.claim)
