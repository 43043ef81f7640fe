"""Contract of ``Store.append``: each write is answered on its own, stored whole or not at all, and repeatable."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.events import ReviewClosed, ReviewOpened
from store.backend import PaymentStore
from store.codec import decode
from store.port import (
    Claim,
    CloseWork,
    Committed,
    Conflict,
    Duplicate,
    EncodedEvent,
    Fence,
    Fenced,
    Head,
    Part,
    StreamKey,
    Write,
)
from tests.store.builders import OWNER, Customer, Step, deposit, move, open_work, received
from tests.store.looking import contents, versions

COMMITTED = Committed()


def test_what_is_committed_can_be_read_back(store: PaymentStore) -> None:
    """After Committed the stream's head, the transaction, the balance and the exact bytes of the events can be read."""
    customer = Customer()
    writes = [customer.deposit("t1", owner=OWNER), customer.complete("t1", fence=Fence("t1", 1))]
    assert store.append(writes[:1]) == [COMMITTED]
    assert store.append(writes[1:]) == [COMMITTED]
    snapshot = store.load(customer.stream, ["t1"])
    assert snapshot.head == customer.head
    assert snapshot.account == customer.account
    sent = [event for write in writes for part in write.parts for event in part.events]
    stored = store.stream_events(customer.stream, after=0, limit=10)
    assert [(e.event_id, e.version, e.type, e.body, e.hash) for e in stored] == sent
    assert all(event.stream == customer.stream for event in stored)
    assert [event.position for event in stored] == sorted({event.position for event in stored})


def test_an_empty_batch_has_no_answers(store: PaymentStore) -> None:
    """Appending nothing answers nothing."""
    assert store.append([]) == []


def test_each_write_of_a_batch_is_answered_on_its_own(store: PaymentStore) -> None:
    """In a batch of valid and refused writes the valid ones are stored.

    Each refusal states its reason, in the given order.
    """
    claim = Claim("key", "1", b"t1")
    stale, late, twice, good = (Customer(name) for name in ("stale", "late", "twice", "good"))
    rival, owner = stale.twin(), late
    assert store.append([rival.deposit("t1", claims=[claim]), owner.deposit("t2", owner=OWNER)]) == [COMMITTED] * 2
    answers = store.append(
        [
            good.deposit("t3"),
            stale.deposit("t4"),
            late.complete("t2", fence=Fence("t2", 7)),
            twice.deposit("t5", claims=[Claim("key", "1", b"t5")]),
            good.deposit("t6"),
        ]
    )
    missed = tuple(store.stream_events(stale.stream, after=0, limit=10))
    assert answers == [COMMITTED, Conflict(missed), Fenced(0), Duplicate(0, claim), COMMITTED]
    assert [versions(store, one.stream) for one in (good, stale, late, twice)] == [[1, 2], [1], [1], []]
    assert store.transaction("main", "t4") is None
    assert store.transaction("main", "t5") is None


def test_a_conflict_returns_the_missed_events(store: PaymentStore) -> None:
    """A conflict contains the events after the writer's head, ascending, so that the writer can decide again."""
    winner = Customer()
    store.append([winner.deposit("t1")])
    loser = winner.twin()
    store.append([winner.deposit("t2"), winner.complete("t1")])
    (answer,) = store.append([loser.deposit("t3")])
    assert isinstance(answer, Conflict)
    assert [event.version for event in answer.missed] == [2, 3, 4]
    assert [decode(event.body).version for event in answer.missed] == [2, 3, 4]
    assert answer.missed[-1].hash == winner.head.hash


def test_a_writer_far_behind_catches_up_in_steps(store: PaymentStore) -> None:
    """A conflict returns at most a few hundred missed events, and the next conflict continues after them."""
    winner, loser = Customer(), Customer()
    store.append([winner.deposit(f"t{n}") for n in range(700)])
    head, seen = Head(), []
    while head.version < 700:
        (answer,) = store.append([Write(loser.stream, head, (Part(_renumbered(loser, head)),))])
        assert isinstance(answer, Conflict)
        assert 0 < len(answer.missed) <= 300
        seen += [event.version for event in answer.missed]
        head = Head(answer.missed[-1].version, answer.missed[-1].hash)
    assert seen == list(range(1, 701))


def _renumbered(customer: Customer, head: Head) -> tuple[EncodedEvent, ...]:
    (event,) = customer.twin().deposit("rival").parts[0].events
    return (event._replace(version=head.version + 1),)


def test_competing_writes_in_one_batch(store: PaymentStore) -> None:
    """With two writes on the same head, the first of the batch wins and the second conflicts with it."""
    first, second = Customer(), Customer()
    won, lost = store.append([first.deposit("t1"), second.deposit("t2")])
    assert won == COMMITTED
    assert isinstance(lost, Conflict)
    assert [decode(event.body).event for event in lost.missed] == [received("t1")]


def test_later_writes_of_a_batch_see_earlier_ones(store: PaymentStore) -> None:
    """A writer may continue from its own earlier write of the same batch: head, work and claims include that write."""
    customer = Customer()
    batch = [
        customer.deposit("t1", owner=OWNER, claims=[Claim("key", "1", b"t1")]),
        customer.complete("t1", fence=Fence("t1", 1)),
        customer.twin().deposit("t2", claims=[Claim("key", "1", b"t2")]),
    ]
    assert store.append(batch) == [COMMITTED, COMMITTED, Duplicate(0, Claim("key", "1", b"t1"))]
    assert versions(store, customer.stream) == [1, 2, 3]


@pytest.mark.parametrize("what", ["another hash", "a version that is not there yet", "a stream that is not there"])
def test_a_head_that_is_not_in_the_stream(store: PaymentStore, what: str) -> None:
    """A writer whose head is not in the stream gets a conflict without missed events: it can only load again."""
    customer = Customer()
    store.append([customer.deposit("t1")])
    heads = {
        "another hash": (customer.stream, Head(1, bytes(32))),
        "a version that is not there yet": (customer.stream, Head(2, customer.head.hash)),
        "a stream that is not there": (StreamKey("main", "absent"), customer.head),
    }
    stream, customer.head = heads[what]
    write = customer.deposit("t2")
    before = contents(store)
    (event,) = write.parts[0].events
    event = event._replace(version=write.head.version + 1)
    assert store.append([Write(stream, write.head, (Part((event,)),))]) == [Conflict(())]
    assert contents(store) == before


def test_another_history_is_a_conflict_without_events(store: PaymentStore) -> None:
    """A writer whose hash was never in the stream does not get events that do not follow its head."""
    customer = Customer()
    store.append([customer.deposit("t1"), customer.deposit("t2")])
    stranger = Customer()
    stranger.deposit("t3")
    assert store.append([stranger.deposit("t4")]) == [Conflict(())]


def test_merchants_do_not_share_customers(store: PaymentStore) -> None:
    """The same customer id under two merchants is two streams."""
    ours, theirs = Customer("c", "main"), Customer("c", "other")
    assert store.append([ours.deposit("t1"), theirs.deposit("t2")]) == [COMMITTED, COMMITTED]
    assert versions(store, ours.stream) == versions(store, theirs.stream) == [1]


def test_the_same_write_again_answers_the_same(store: PaymentStore) -> None:
    """A write whose events are on record is answered Committed and changes nothing.

    This holds for any later change of its claims, its fence, its work and the stream.
    """
    customer = Customer()
    first = customer.deposit("t1", owner=OWNER, claims=[Claim("key", "1", b"t1")])
    second = customer.complete("t1", fence=Fence("t1", 1))
    assert store.append([first, first]) == [COMMITTED, COMMITTED]
    assert store.append([second]) == [COMMITTED]
    store.append([customer.deposit("t2")])
    before = contents(store)
    assert store.append([first, second, first]) == [COMMITTED] * 3
    assert contents(store) == before


def test_a_longer_write_with_a_stored_beginning_is_a_conflict(store: PaymentStore) -> None:
    """Only a write whose events are all on record is a repetition."""
    customer = Customer()
    short = customer.deposit("t1")
    longer = customer.deposit("t2")
    store.append([short])
    both = Write(short.stream, short.head, (*short.parts, *longer.parts), short.transactions + longer.transactions)
    (answer,) = store.append([both])
    assert isinstance(answer, Conflict)
    assert versions(store, customer.stream) == [1]


def test_a_long_repetition_is_recognised(store: PaymentStore) -> None:
    """A repeated write with more events than a conflict returns is recognised as well."""
    customer = Customer()
    write = customer.write(*(deposit(f"t{n}") for n in range(400)))
    assert store.append([write, write]) == [COMMITTED, COMMITTED]
    assert versions(store, customer.stream) == list(range(1, 401))


def test_a_write_without_events_ignores_the_head(store: PaymentStore) -> None:
    """Claims and work can be written without the head of the stream."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    write = Write(customer.stream, Head(), (Part((), (Claim("key", "1", b"x"),), Fence("t1", 1), (move("t1"),)),))
    assert store.append([write]) == [COMMITTED]
    assert store.append([customer.twin().complete("t1", fence=Fence("t1", 1))]) == [Fenced(0)]
    assert store.append([customer.complete("t1", fence=Fence("t1", 2))]) == [COMMITTED]


def test_unfenced_changes_apply_to_existing_work_only(store: PaymentStore) -> None:
    """Moving or closing work that no longer exists does nothing and causes no error."""
    customer = Customer()
    write = customer.write(Step((received("t1"),), work=(move("gone"), CloseWork("gone"), open_work("t1"))))
    assert store.append([write]) == [COMMITTED]
    assert store.work_counts() == {("gatewayA", "queued"): 1}


def test_reviews_are_opened_and_closed(store: PaymentStore) -> None:
    """A review's row follows its events."""
    customer = Customer()
    opened = customer.write(deposit("t1"), Step((ReviewOpened("r1", "t1", "odd"),)))
    store.append([opened])
    with store.audit() as audit:
        assert audit.reviews(customer.stream) == [customer.reviews["r1"]]
    store.append([customer.write(Step((ReviewClosed("r1", "looked"),)))])
    with store.audit() as audit:
        assert audit.reviews(customer.stream) == [customer.reviews["r1"]]
        assert customer.reviews["r1"].state == "closed"


def test_many_threads_append_to_one_stream(store: PaymentStore) -> None:
    """However many writers race for a stream, each version has one winner, and every loser can write in the end."""

    def run(name: str) -> None:
        for number in range(10):
            customer = Customer()
            while True:
                snapshot = store.load(customer.stream)
                customer.account, customer.head = snapshot.account, snapshot.head
                if store.append([customer.deposit(f"{name}-{number}")]) == [COMMITTED]:
                    break

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(run, f"w{n}") for n in range(6)]:
            done.result()
    assert versions(store, StreamKey("main", "customer-1")) == list(range(1, 61))


def test_the_holder_of_a_claim(store: PaymentStore) -> None:
    """A claim is found by its scope and key as soon as it is committed, and no other is."""
    claim = Claim("key", "1", b"t1\x00\xff")
    assert store.claimed("key", "1") is None
    assert store.append([Customer().deposit("t1", claims=[claim])]) == [COMMITTED]
    assert store.append([Customer("other").deposit("t2", claims=[Claim("key", "1", b"t2")])]) != [COMMITTED]
    assert store.claimed("key", "1") == claim
    for scope, key in [("key", "2"), ("other", "1"), ("key", ""), ("key", "\x00"), ("\ud800", "1"), ("key", "\ud800")]:
        assert store.claimed(scope, key) is None
