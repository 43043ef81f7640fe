"""Contract of delivery certainty: whether a provider may have received an attempt stays with the work of any owner."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from store.backend import PaymentStore
from store.port import Action, Committed, DeliveryCertainty, Fence, Fenced, WorkItem, WorkState
from tests.store.builders import OWNER, Customer, Step, move

COMMITTED = Committed()
OTHER = "owner-2"
ALL = list(DeliveryCertainty)


def leased_in_each_doubt(store: PaymentStore) -> Customer:
    """Three pieces of work under token 2, leased to OWNER, named by their doubt."""
    customer = Customer()
    store.append([customer.deposit(certainty.name, owner=OWNER) for certainty in ALL])
    moves = [move(certainty.name, state=WorkState.LEASED, certainty=certainty) for certainty in ALL]
    assert store.append([customer.write(Step(work=moves))]) == [COMMITTED]
    return customer


def doubts(items: list[WorkItem]) -> dict[str, DeliveryCertainty]:
    """The doubt of each piece of work."""
    return {item.work_id: item.certainty for item in items}


def test_new_work_is_in_no_doubt(store: PaymentStore) -> None:
    """Work that was just opened, and never leased, was not sent."""
    store.append([Customer().deposit("t1")])
    (item,) = store.claim_work(OWNER, "gatewayA", 1)
    assert item.certainty is DeliveryCertainty.NOT_SENT


@pytest.mark.parametrize("doubt", ALL)
def test_doubt_is_what_the_last_move_said(store: PaymentStore, certainty: DeliveryCertainty) -> None:
    """A move sets the certainty, higher or lower than before; a claim does not change it."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    for before in ALL:
        for said in (before, certainty):
            assert store.append([customer.write(Step(work=(move("t1", certainty=said),)))]) == [COMMITTED]
            (item,) = store.claim_work(OWNER, "gatewayA", 1)
            assert item.certainty is said


def test_the_work_of_the_dead_is_in_doubt(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """What a dead owner had may have been sent; what is on record as sent stays that."""
    leased_in_each_doubt(store)
    pass_time(16)
    assert store.release_dead(15) == 3
    store.register_owner(OTHER)
    found = doubts(store.claim_work(OTHER, "gatewayA", 10))
    assert found == {
        "NONE": DeliveryCertainty.LEASE_LOST,
        "LEASE_LOST": DeliveryCertainty.LEASE_LOST,
        "SENT": DeliveryCertainty.SENT,
    }


@pytest.mark.parametrize("unsent", [True, False])
def test_work_that_is_given_back_is_in_doubt_unless_unsent(store: PaymentStore, *, unsent: bool) -> None:
    """An owner that retires states whether it sent nothing; otherwise all its work may have been sent."""
    leased_in_each_doubt(store)
    assert store.retire_owner(OWNER, unsent=unsent) == 3
    store.register_owner(OTHER)
    least = DeliveryCertainty.NOT_SENT if unsent else DeliveryCertainty.LEASE_LOST
    assert doubts(store.claim_work(OTHER, "gatewayA", 10)) == {one.name: max(one, least) for one in ALL}


def test_work_opened_for_a_stranger_is_in_doubt(store: PaymentStore) -> None:
    """Whoever was held for dead while it opened it believes that it got it, and may send it."""
    store.append([Customer("a").deposit("strangers", owner="stranger"), Customer("b").deposit("nobodys")])
    store.append([Customer("c").deposit("mine", owner=OWNER)])
    found = doubts(store.claim_work(OWNER, "gatewayA", 10))
    assert found == {"strangers": DeliveryCertainty.LEASE_LOST, "nobodys": DeliveryCertainty.NOT_SENT}
    store.retire_owner(OWNER, unsent=True)
    store.register_owner(OTHER)
    assert doubts(store.claim_work(OTHER, "gatewayA", 10))["mine"] is DeliveryCertainty.NOT_SENT


def test_the_work_of_others_stays_as_it_is(store: PaymentStore) -> None:
    """Only work of the retired owner may have been sent, not queued work or work of other owners."""
    store.register_owner(OTHER)
    customer = Customer()
    store.append([customer.deposit("mine", owner=OWNER), customer.deposit("theirs", owner=OTHER)])
    store.append([customer.deposit("nobodys")])
    assert store.retire_owner(OWNER, unsent=False) == 1
    assert store.retire_owner(OTHER, unsent=True) == 1
    store.register_owner(OTHER)
    found = doubts(store.claim_work(OTHER, "gatewayA", 10))
    assert found == {
        "mine": DeliveryCertainty.LEASE_LOST,
        "theirs": DeliveryCertainty.NOT_SENT,
        "nobodys": DeliveryCertainty.NOT_SENT,
    }


def test_an_owner_moves_what_it_keeps(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A move to leased keeps the lease and raises the token by exactly one: the next, and no other, passes a fence.

    So an owner can put on record that it is about to send, and go on under the token that it knows without asking.
    """
    customer = Customer()
    store.append([customer.deposit("t1")])
    (item,) = store.claim_work(OWNER, "gatewayA", 1)
    about_to_send = move("t1", state=WorkState.LEASED, certainty=DeliveryCertainty.SENT)
    assert store.append([customer.write(Step(fence=Fence("t1", item.token), work=(about_to_send,)))]) == [COMMITTED]
    pass_time(1_000)
    assert store.claim_work(OWNER, "gatewayA", 1) == []
    assert store.work_counts() == {("gatewayA", "leased"): 1}
    for stale in (item.token, item.token + 2):
        assert store.append([customer.twin().complete("t1", fence=Fence("t1", stale))]) == [Fenced(0)]
    assert store.append([customer.twin().complete("t1", fence=Fence("t1", item.token + 1))]) == [COMMITTED]


def test_what_an_owner_keeps_is_released_with_it(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """The lease that a move kept is the owner's: when that one dies, the work goes to others, with its doubt."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    store.append(
        [customer.write(Step(work=(move("t1", state=WorkState.LEASED, certainty=DeliveryCertainty.SENT, attempts=4),)))]
    )
    pass_time(16)
    assert store.release_dead(15) == 1
    store.register_owner(OTHER)
    (item,) = store.claim_work(OTHER, "gatewayA", 1)
    assert (item.token, item.attempts, item.action, item.certainty) == (4, 4, Action.SUBMIT, DeliveryCertainty.SENT)
