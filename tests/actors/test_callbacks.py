"""Callbacks at the customers' actors: each event id once, in any order with answers and lookups, whatever breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from actors.operations.callback import (
    EVENT_TYPE,
    MATCHED_WITHIN,
    Callback,
    CallbackReport,
    CallbackRequest,
    queue_of,
    read_payload,
    stream_of_gateway,
)
from actors.replies import NotStored, Taken
from domain.account import Status
from domain.commands import RecordCallback
from domain.money import Money
from domain.outcomes import Approved, Declined
from domain.said import Expected, Said, Source
from gateways.port import RawMembers
from store.codec import Metadata
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError
from store.port import Action, WorkItem
from tests.actors.customers import DEADLINE_S, Customers, answer
from tests.actors.support import GATEWAY, Trouble, TroubledStore

AWAY = StoreUnavailableError("away")
UNCERTAIN = CommitUncertainError("cut")
NO = Declined("declined", None, "The gateway says so.")


def yes(item: WorkItem) -> Approved:
    """The gateway's yes, under the reference that its answers name."""
    return Approved(f"A-{item.work_id}", final=True)


def reviews(customers: Customers) -> int:
    """How many reviews are open, of whomever."""
    return len(customers.real.reviews("main", "open", before=None, limit=100))


def work(customers: Customers) -> dict[tuple[str, str], int]:
    """What is unfinished."""
    return customers.real.work_counts()


@pytest.mark.parametrize("outcome", [True, False])
def test_a_callback_ends_the_transaction_and_its_work(customers: Customers, *, outcome: bool) -> None:
    """One commit: the claim, the events, the end of the work; the late answer of the call changes nothing."""
    item = customers.deposited()
    request = customers.callback(item, yes(item) if outcome else NO)
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
    """Together or one after the other, here or elsewhere: all are answered, one is applied."""
    item = customers.deposited()
    requests = []
    for _ in range(4):
        requests.append(customers.callback(item, yes(item)))
        if not at_once:
            customers.run()
    customers.run()
    assert [answer(request) for request in requests] == [Taken()] * 4
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]


def test_copies_are_one_over_all_processes(customers: Customers, another_process: Callable[[], Customers]) -> None:
    """Two processes that get it at once apply it once."""
    other = another_process()
    item = customers.deposited()
    requests = [customers.callback(item, yes(item)), other.callback(item, yes(item))]
    customers.run(1.0)
    assert [answer(request) for request in requests] == [Taken()] * 2
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]


def test_the_event_says_where_it_comes_from(customers: Customers) -> None:
    """Each event that a callback led to names the callback."""
    item = customers.deposited()
    customers.callback(item, yes(item), event_id="evt-9")
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
    """It may be about something else: nothing is settled by it."""
    item = customers.deposited()
    request = customers.callback(item, yes(item), minor=1)
    customers.run()
    assert answer(request) == Taken()
    assert reviews(customers) == 1
    assert customers.transaction(item.work_id).status is Status.PENDING
    assert work(customers) == {(GATEWAY, "leased"): 1}


def test_one_event_id_with_two_bodies(customers: Customers) -> None:
    """The first is applied; that it came with another body is reviewed once, however often."""
    item = customers.deposited()
    customers.callback(item, yes(item), body=b"one")
    customers.run()
    for body in (b"two", b"two", b"three"):
        request = customers.callback(item, NO, body=body)
        customers.run()
        assert answer(request) == Taken()
    assert reviews(customers) == 1
    assert customers.transaction(item.work_id).status is Status.COMPLETED
    customers.callback(item, yes(item), body=b"one")
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
def test_one_that_another_version_kept_otherwise(customers: Customers, before: bytes, now: bytes) -> None:
    """What reads as a card number may change with the version: a repetition is told as one all the same."""
    item = customers.deposited()
    customers.callback(item, yes(item), body=before)
    customers.run()
    again = customers.callback(item, yes(item), body=now)
    customers.run()
    assert answer(again) == Taken()
    assert reviews(customers) == 0
    customers.callback(item, yes(item), body=now.replace(b"at", b"by"))
    customers.run()
    assert reviews(customers) == 1


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("then", [AWAY, UNCERTAIN, None])
def test_a_commit_in_doubt_applies_it_once(
    customers: Customers, store: TroubledStore, *, stored: bool, then: Exception | None
) -> None:
    """Whatever became of the first write: one application, and an answer that is no guess."""
    item = customers.deposited()
    store.befall("append", Trouble(UNCERTAIN, after=stored), then)
    request = customers.callback(item, yes(item))
    customers.run(DEADLINE_S)
    assert answer(request) == Taken()
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert reviews(customers) == 0


def test_what_is_not_stored_is_sent_again(customers: Customers, store: TroubledStore) -> None:
    """What is said not to be stored is not, and its repetition is applied."""
    item = customers.deposited()
    store.befall("append", AWAY)
    first = customers.callback(item, yes(item))
    customers.run(1.0)
    again = customers.callback(item, yes(item))
    customers.run()
    assert isinstance(answer(first), NotStored)
    assert answer(again) == Taken()
    assert customers.transaction(item.work_id).status is Status.COMPLETED


def test_neighbours_of_a_repetition_are_stored(customers: Customers) -> None:
    """That one of a batch came again touches no other of it."""
    items = [customers.deposited() for _ in range(3)]
    customers.callback(items[0], yes(items[0]), event_id="evt-0")
    customers.run()
    for number, item in enumerate(items):
        customers.callback(item, yes(item), event_id=f"evt-{number}")
    customers.run()
    assert {customers.transaction(item.work_id).status for item in items} == {Status.COMPLETED}
    assert reviews(customers) == 0


# those of nobody


def claim(customers: Customers) -> list[WorkItem]:
    """Lease the stored callbacks that are due."""
    return customers.real.claim_work(customers.owner, queue_of(GATEWAY), 10)


def unmatched(customers: Customers, transaction_id: str, event_id: str = "evt-1") -> CallbackRequest:
    """A callback about a transaction that is not on record."""
    said = RecordCallback(transaction_id, GATEWAY, "A-9", Money(10_000, "USD"), Approved("A-9", final=True))
    request = CallbackRequest(
        Callback(GATEWAY, event_id, b"{}"),
        Metadata("r-7"),
        unmatched=said,
        work_key=f"callback:{customers.runtime.new_id()}",
        verbatim=RawMembers(transaction_id, "A-9", "completed", "100.0", "USD"),
    )
    request.deadline = customers.runtime.monotonic() + DEADLINE_S
    customers.router.tell(stream_of_gateway(GATEWAY), request)
    customers.run()
    return request


def test_one_that_nobody_knows_is_kept(customers: Customers) -> None:
    """It is work, once for its event id, and no review yet."""
    assert answer(unmatched(customers, "nobody")) == Taken()
    assert answer(unmatched(customers, "nobody")) == Taken()
    assert work(customers) == {(queue_of(GATEWAY), "queued"): 1}
    assert reviews(customers) == 0


def test_it_is_applied_once_its_transaction_is_known(customers: Customers) -> None:
    """Whoever claims it applies it in the customer's stream; its work and the transaction's are over."""
    item = customers.deposited()
    unmatched(customers, item.work_id)
    (claimed,) = claim(customers)
    assert (claimed.action, claimed.event_type, claimed.transaction) == (Action.APPLY, EVENT_TYPE, None)
    command = RecordCallback(
        item.work_id, GATEWAY, f"A-{item.work_id}", Money(10_000, "USD"), Approved(f"A-{item.work_id}", final=True)
    )
    for _ in range(2):  # handed over twice
        customers.router.tell(item.stream, CallbackReport(claimed, command))
        customers.run()
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert work(customers) == {}


def test_it_is_tried_again_and_after_an_hour_a_person_is_asked(customers: Customers) -> None:
    """At growing intervals; then one review that belongs to the gateway, and no work any more."""
    unmatched(customers, "nobody")
    looks = 0
    for _ in range(10_000):
        claimed = claim(customers)
        if claimed:
            looks += 1
            customers.router.tell(stream_of_gateway(GATEWAY), CallbackReport(claimed[0], None))
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
    assert (said.reference, said.amount, said.body, said.body_bytes) == ("nobody", "100.0", "{}", 2)
    assert view.review.opened_at - said.at >= MATCHED_WITHIN, "it says when it came, and not when it was given up"
    assert view.review.expected is None


def test_one_that_is_matched_late_and_contradicts(customers: Customers) -> None:
    """Its review is the transaction's, and shows what was said when it came."""
    item = customers.deposited()
    unmatched(customers, item.work_id)
    (claimed,) = claim(customers)
    money = Money(1, "USD")
    command = RecordCallback(item.work_id, GATEWAY, "A-9", money, Approved("A-9", final=True))
    customers.router.tell(item.stream, CallbackReport(claimed, command))
    customers.run()
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    assert view.review.transaction_id == item.work_id
    assert view.review.said is not None
    assert (view.review.said.event_id, view.review.said.amount) == ("evt-1", "100.0")
    assert view.review.expected == Expected(GATEWAY, "pending", "100.00", "USD")


def test_one_that_an_earlier_version_stored(customers: Customers) -> None:
    """Of its words nothing was kept: what it said is told from what was."""
    before = {
        "event_id": "evt-1",
        "reference": "nobody",
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
    assert stored.said == Said(
        Source.CALLBACK, GATEWAY, at, "evt-1", "nobody", "A-9", "failed", amount="7.50", currency="USD"
    )
    assert stored.waits_until == at + MATCHED_WITHIN


def test_a_payload_that_cannot_be_read(customers: Customers) -> None:
    """Whatever is wrong with what was said is the same error as for the rest."""
    unmatched(customers, "nobody")
    (item,) = claim(customers)
    payload = orjson.loads(item.payload or b"")
    odd: list[object] = [None, {}, [], {**payload["said"], "source": "rumour"}, {**payload["said"], "at": "now"}]
    for said in odd:
        with pytest.raises(CorruptStoreError):
            read_payload(replace(item, payload=orjson.dumps({**payload, "said": said})))


@pytest.mark.parametrize("copies", [1, 3])
def test_one_that_cannot_be_read_is_reviewed_once(customers: Customers, copies: int) -> None:
    """It is kept as it came, and a person is asked."""
    for _ in range(copies):
        callback = Callback(GATEWAY, "evt-1", b"\xff")
        request = CallbackRequest(callback, Metadata("r-7"), problem="A callback cannot be read: not JSON")
        request.deadline = customers.runtime.monotonic() + DEADLINE_S
        customers.router.tell(stream_of_gateway(GATEWAY), request)
        customers.run()
        assert answer(request) == Taken()
    (view,) = customers.real.reviews("main", "open", before=None, limit=10)
    assert view.review.reason == "A callback cannot be read: not JSON"
    assert view.review.said is not None
    assert (view.review.said.event_id, view.review.said.body, view.review.said.body_bytes) == ("evt-1", "\\xff", 1)
    assert work(customers) == {}


def test_a_stale_look_moves_nothing(customers: Customers) -> None:
    """Whoever lost the lease of a stored callback changes nothing about it any more."""
    unmatched(customers, "nobody")
    (stale,) = claim(customers)
    customers.real.retire_owner(customers.owner, unsent=True)
    customers.real.register_owner(customers.owner)
    claim(customers)
    customers.router.tell(stream_of_gateway(GATEWAY), CallbackReport(stale, None))
    customers.run()
    assert work(customers) == {(queue_of(GATEWAY), "leased"): 1}


def test_a_body_shows_nowhere() -> None:
    """What a provider sent is in no text that a log or an error might be made of."""
    callback = Callback(GATEWAY, "evt-1", b"what was sent")
    assert "sent" not in f"{callback!r} {callback} {callback.claim!r}"
    assert "evt-1" in repr(callback)
    assert "evt-1" in repr(callback.claim)
