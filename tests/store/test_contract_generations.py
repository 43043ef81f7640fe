"""Contract of generations: a store that was restored to an earlier state shows it. Unfinished work counts as sent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.backend import PaymentStore
from store.port import TOKENS_APART, Action, Committed, DeliveryCertainty, Feed, Fence, Fenced, Lease, WorkState
from tests.store.builders import OWNER, Customer, Step, move

COMMITTED = Committed()
OTHER = "owner-2"


def test_a_new_store_is_of_the_first_generation(store: PaymentStore) -> None:
    """Generation 0, with the last position in it."""
    assert store.feed().generation == 0
    before = store.feed().last
    store.append([Customer().deposit("t1")])
    assert store.feed() == Feed(0, before + 1)


def test_the_next_generation_begins_once(store: PaymentStore) -> None:
    """A second process that has seen the same generation does not begin another one. It receives the newest."""
    assert store.begin_generation(0) == 1
    assert [store.begin_generation(0) for _ in range(3)] == [1, 1, 1]
    assert store.feed().generation == 1
    assert store.begin_generation(1) == 2
    assert store.begin_generation(7) == 8
    assert store.begin_generation(2) == 8


def test_one_of_many_concurrent_calls_begins_it(store: PaymentStore) -> None:
    """There is one more generation, and every token is raised once."""
    store.append([Customer().deposit("t1")])
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: store.begin_generation(0), range(8))) == {1}
    assert store.lease("t1") == Lease(1 + TOKENS_APART, None)


def test_all_unfinished_work_may_have_been_sent(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """No lease of any owner holds, no certainty is below SENT, and waiting work keeps waiting."""
    store.register_owner(OTHER)
    customer = Customer()
    store.append([customer.deposit("mine", owner=OWNER), customer.deposit("theirs", owner=OTHER)])
    store.append([customer.deposit("queued"), customer.deposit("later"), customer.deposit("parked")])
    moves = [move("later", delay_s=60.0), move("parked", state=WorkState.PARKED)]
    assert store.append([customer.write(Step(work=moves))]) == [COMMITTED]
    store.begin_generation(0)
    assert store.claim_work(OWNER, "gatewayA", 10) == []  # no owner is registered any more
    assert not store.heartbeat(OWNER)
    store.register_owner(OWNER)
    items = store.claim_work(OWNER, "gatewayA", 10)
    assert {item.work_id: (item.certainty, item.action) for item in items} == dict.fromkeys(
        ("mine", "theirs", "queued"), (DeliveryCertainty.SENT, Action.SUBMIT)
    )
    pass_time(61)
    (item,) = store.claim_work(OWNER, "gatewayA", 10)
    assert (item.work_id, item.certainty) == ("later", DeliveryCertainty.SENT)
    parked = store.dead_letter("main", "parked")
    assert parked is not None
    assert (parked.state, parked.item.certainty) == (WorkState.PARKED, DeliveryCertainty.SENT)


def test_earlier_tokens_are_fenced_off(store: PaymentStore) -> None:
    """No token of an earlier generation is valid, also after the work has changed hands several times."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    store.begin_generation(0)
    store.register_owner(OWNER)
    store.claim_work(OWNER, "gatewayA", 1)
    for token in range(1, 5):
        assert store.append([customer.write(Step(fence=Fence("t1", token)))]) == [Fenced(0)]
    assert store.lease("t1") == Lease(2 + TOKENS_APART, OWNER)
    assert store.lease("another") is None


def test_tokens_of_a_lost_generation_are_fenced_off(store: PaymentStore) -> None:
    """The store is restored a second time to the same state.

    Tokens of the generation between are fenced off as well.
    """
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    assert store.begin_generation(1) == 2  # the first one is not on record, and was begun with tokens of its own
    between = Fence("t1", 1 + TOKENS_APART)
    assert store.append([customer.write(Step(fence=between))]) == [Fenced(0)]
    assert store.lease("t1") == Lease(1 + 2 * TOKENS_APART, None)


def test_whether_an_event_is_on_record(store: PaymentStore) -> None:
    """An event is found by version and id, in its own stream."""
    customer = Customer()
    write = customer.deposit("t1")
    store.append([write])
    event_id = write.parts[0].events[0].event_id
    assert store.holds(customer.stream, 1, event_id)
    assert not store.holds(customer.stream, 2, event_id)
    assert not store.holds(customer.stream, 1, "another")
    assert not store.holds(Customer("another").stream, 1, event_id)


@pytest.mark.parametrize("merchant", ["main", "shop"])
def test_the_end_of_a_merchants_events(store: PaymentStore, merchant: str) -> None:
    """The feed of a merchant ends at its newest event, independent of later events of others."""
    assert store.newest_event(merchant) is None
    mine, others = Customer(merchant=merchant), Customer(merchant="others")
    store.append([others.deposit("o1")])
    assert store.newest_event(merchant) is None
    store.append([mine.deposit("t1")])
    store.append([others.deposit("o2")])
    newest = store.newest_event(merchant)
    assert newest is not None
    assert (newest.stream, newest.version, newest.hash) == (mine.stream, 1, mine.head.hash)
