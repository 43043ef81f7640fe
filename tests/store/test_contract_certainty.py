"""Contract of the delivery certainty: it stays with the work when another process takes it over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from store.backend import PaymentStore
from store.port import Action, Committed, DeliveryCertainty, Fence, Fenced, WorkItem, WorkState
from tests.store.builders import OWNER, Customer, Step, move

COMMITTED = Committed()
OTHER = "owner-2"
ALL = list(DeliveryCertainty)


def leased_with_each_certainty(store: PaymentStore) -> Customer:
    """Three pieces of work under token 2, leased to OWNER, named by their certainty."""
    customer = Customer()
    store.append([customer.deposit(certainty.name, owner=OWNER) for certainty in ALL])
    moves = [move(certainty.name, state=WorkState.LEASED, certainty=certainty) for certainty in ALL]
    assert store.append([customer.write(Step(work=moves))]) == [COMMITTED]
    return customer


def certainties(items: list[WorkItem]) -> dict[str, DeliveryCertainty]:
    """The certainty of each piece of work."""
    return {item.work_id: item.certainty for item in items}


def test_new_work_is_not_sent(store: PaymentStore) -> None:
    """New work that no owner ever had is not sent."""
    store.append([Customer().deposit("t1")])
    (item,) = store.claim_work(OWNER, "gatewayA", 1)
    assert item.certainty is DeliveryCertainty.NOT_SENT


@pytest.mark.parametrize("certainty", ALL)
def test_the_certainty_is_that_of_the_last_move(store: PaymentStore, certainty: DeliveryCertainty) -> None:
    """A move sets a higher or a lower certainty. A claim does not change it."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    for before in ALL:
        for moved in (before, certainty):
            assert store.append([customer.write(Step(work=(move("t1", certainty=moved),)))]) == [COMMITTED]
            (item,) = store.claim_work(OWNER, "gatewayA", 1)
            assert item.certainty is moved


def test_the_work_of_a_dead_owner_may_have_been_sent(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """The work of a dead owner may have been sent. Work on record as sent stays so."""
    leased_with_each_certainty(store)
    pass_time(16)
    assert store.release_dead(15) == 3
    store.register_owner(OTHER)
    found = certainties(store.claim_work(OTHER, "gatewayA", 10))
    assert found == {
        "NOT_SENT": DeliveryCertainty.LEASE_LOST,
        "LEASE_LOST": DeliveryCertainty.LEASE_LOST,
        "SENT": DeliveryCertainty.SENT,
    }


@pytest.mark.parametrize("unsent", [True, False])
def test_released_work_may_have_been_sent_unless_unsent(store: PaymentStore, *, unsent: bool) -> None:
    """An owner that retires reports whether it sent nothing. Otherwise all its work may have been sent."""
    leased_with_each_certainty(store)
    assert store.retire_owner(OWNER, unsent=unsent) == 3
    store.register_owner(OTHER)
    least = DeliveryCertainty.NOT_SENT if unsent else DeliveryCertainty.LEASE_LOST
    assert certainties(store.claim_work(OTHER, "gatewayA", 10)) == {one.name: max(one, least) for one in ALL}


def test_work_opened_for_an_unknown_owner_may_have_been_sent(store: PaymentStore) -> None:
    """A process that lost its registration while it opened work still has it, and may send it."""
    store.append([Customer("a").deposit("unknown owner", owner="unknown"), Customer("b").deposit("queued")])
    store.append([Customer("c").deposit("mine", owner=OWNER)])
    found = certainties(store.claim_work(OWNER, "gatewayA", 10))
    assert found == {"unknown owner": DeliveryCertainty.LEASE_LOST, "queued": DeliveryCertainty.NOT_SENT}
    store.retire_owner(OWNER, unsent=True)
    store.register_owner(OTHER)
    assert certainties(store.claim_work(OTHER, "gatewayA", 10))["mine"] is DeliveryCertainty.NOT_SENT


def test_other_work_keeps_its_certainty(store: PaymentStore) -> None:
    """Only the work of the retired owner changes: neither that of other owners nor queued work."""
    store.register_owner(OTHER)
    customer = Customer()
    store.append([customer.deposit("mine", owner=OWNER), customer.deposit("theirs", owner=OTHER)])
    store.append([customer.deposit("queued")])
    assert store.retire_owner(OWNER, unsent=False) == 1
    assert store.retire_owner(OTHER, unsent=True) == 1
    store.register_owner(OTHER)
    found = certainties(store.claim_work(OTHER, "gatewayA", 10))
    assert found == {
        "mine": DeliveryCertainty.LEASE_LOST,
        "theirs": DeliveryCertainty.NOT_SENT,
        "queued": DeliveryCertainty.NOT_SENT,
    }


def test_an_owner_moves_work_that_it_keeps(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A move to leased keeps the lease and raises the token by exactly one. Only that next token passes a fence.

    So an owner can record that it is about to send, and continue under the next token without a read.
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


def test_kept_work_is_released_with_its_owner(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A lease that a move kept ends with its owner. The work goes to other owners with its certainty."""
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
