"""Contract of work: its owner, its due time, and that a lost lease can append nothing with its old token."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from domain.events import VOCABULARY
from store.backend import PaymentStore
from store.port import (
    Action,
    Claim,
    CloseWork,
    Committed,
    Fence,
    Fenced,
    Head,
    OpenWork,
    Part,
    QueuedWork,
    StreamKey,
    WorkError,
    WorkItem,
    WorkState,
    Write,
)
from tests.store.builders import OWNER, START, Customer, Step, move

COMMITTED = Committed()
OTHER = "owner-2"


def claimed(store: PaymentStore, owner: str = OWNER, gateway: str = "gatewayA", limit: int = 100) -> list[str]:
    """The ids of the work that ``owner`` gets."""
    return [item.work_id for item in store.claim_work(owner, gateway, limit)]


def change(store: PaymentStore, customer: Customer, *steps: Step) -> object:
    """Append the steps in one write, and return the answer."""
    (answer,) = store.append([customer.write(*steps)])
    return answer


def test_leased_work_belongs_to_its_owner(store: PaymentStore) -> None:
    """Work that was opened for an owner cannot be claimed and is not due for others."""
    store.append([Customer().deposit("t1", owner=OWNER)])
    assert claimed(store) == []
    assert store.next_due_s("gatewayA") is None
    assert store.work_counts() == {("gatewayA", "leased"): 1}


def test_a_claim_returns_all_data_of_the_work(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A claimed piece of work comes with its new token, its history and its current transaction."""
    customer = Customer()
    error = WorkError(START + timedelta(seconds=1), "connect timeout")
    store.append([customer.deposit("t1", owner=OWNER)])
    moved = move("t1", action=Action.RESOLVE, delay_s=5, attempts=3, errors=(error, error))
    assert change(store, customer, Step(fence=Fence("t1", 1), work=(moved,))) == COMMITTED
    pass_time(5)
    assert store.claim_work(OWNER, "gatewayA", 10) == [
        WorkItem(
            work_id="t1",
            token=3,
            stream=customer.stream,
            gateway="gatewayA",
            action=Action.RESOLVE,
            event_type="DepositReceived",
            attempts=3,
            errors=(error, error),
            transaction=customer.account.transactions["t1"],
            payload=None,
        )
    ]
    assert change(store, customer.twin(), Step(fence=Fence("t1", 2), work=(CloseWork("t1"),))) == Fenced(0)
    assert store.append([customer.complete("t1", fence=Fence("t1", 3))]) == [COMMITTED]
    assert store.work_counts() == {}


def test_work_without_a_transaction(store: PaymentStore) -> None:
    """A stored callback is work with a payload and no transaction. Its bytes are returned unchanged."""
    payload = bytes(range(256))
    work = OpenWork("callback-1", None, "gatewayA", Action.RESOLVE, "Callback", None, payload)
    stream = StreamKey("main", "no-match-yet")
    claim = Claim("callback", "1", b"hash")
    assert store.append([Write(stream, Head(), (Part((), (claim,), None, (work,)),))]) == [COMMITTED]
    (item,) = store.claim_work(OWNER, "gatewayA", 1)
    assert (item.stream, item.transaction, item.payload, item.token) == (stream, None, payload, 2)


def test_oldest_due_first(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Due work is claimed oldest due first, up to the given number, and never for another gateway."""
    customer = Customer()
    for number in range(5):
        store.append([customer.deposit(f"t{number}")])
        pass_time(1)
    store.append([customer.deposit("b", gateway="gatewayB")])
    change(store, customer, Step(work=(move("t0", delay_s=0.5),)))
    pass_time(1)
    assert claimed(store, limit=2) == ["t1", "t2"]
    assert claimed(store, limit=2) == ["t3", "t4"]
    assert claimed(store, limit=2) == ["t0"]
    assert claimed(store, limit=2) == []
    assert claimed(store, gateway="gatewayB") == ["b"]


@pytest.mark.parametrize("state", [WorkState.QUEUED, WorkState.DEAD])
def test_work_waits_for_its_time(store: PaymentStore, pass_time: Callable[[float], None], state: WorkState) -> None:
    """Queued and dead work is due after its delay and not before, by the store's clock."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    change(store, customer, Step(work=(move("t1", state=state, delay_s=30),)))
    assert store.next_due_s("gatewayA") == pytest.approx(30, abs=1)
    pass_time(29)
    assert claimed(store) == []
    assert store.next_due_s("gatewayA") == pytest.approx(1, abs=1)
    pass_time(1)
    assert store.next_due_s("gatewayA") == 0
    assert claimed(store) == ["t1"]
    assert store.next_due_s("gatewayA") is None


def test_a_claim_returns_due_work_only(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Only due work of a gateway is claimed, however much more the caller accepts."""
    customer = Customer()
    store.append([customer.deposit("t1"), customer.deposit("t2", owner=OWNER)])
    change(store, customer, Step(work=(move("t2", delay_s=60),)))
    assert claimed(store) == ["t1"]
    pass_time(60)
    assert claimed(store) == ["t2"]


def test_due_work_of_several_gateways_is_listed(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """The list has what a claim would lease, oldest due first, up to the limit for each gateway, and leases nothing."""
    customer = Customer()
    for number in range(3):
        store.append([customer.deposit(f"a{number}")])
        pass_time(1)
        store.append([customer.deposit(f"b{number}", gateway="gatewayB")])
        pass_time(1)
    store.append([customer.deposit("leased", owner=OWNER), customer.deposit("c", gateway="gatewayC")])
    store.append([customer.deposit("later"), customer.deposit("parked"), customer.deposit("dead")])
    change(store, customer, Step(work=(move("later", delay_s=60), move("parked", state=WorkState.PARKED))))
    change(store, customer, Step(work=(move("dead", state=WorkState.DEAD, delay_s=5), move("a0"))))
    names = {"gatewayA", "gatewayB", "absent"}
    assert store.queued_due(names, 2) == [
        QueuedWork("b0", 1, "b0", "gatewayB"),
        QueuedWork("a1", 1, "a1", "gatewayA"),
        QueuedWork("b1", 1, "b1", "gatewayB"),
        QueuedWork("a2", 1, "a2", "gatewayA"),
    ]
    assert store.queued_due([], 10) == []
    pass_time(5)
    listed = store.queued_due(["gatewayA"], 100)
    assert [work.work_id for work in listed] == ["a1", "a2", "a0", "dead"]
    assert [work.token for work in listed] == [1, 1, 2, 2]
    assert claimed(store) == ["a1", "a2", "a0", "dead"]
    assert store.queued_due(["gatewayA"], 100) == []


def test_listed_work_may_have_no_transaction(store: PaymentStore) -> None:
    """A stored callback whose transaction is not known is listed in its queue."""
    work = OpenWork("callback-1", None, "callbacks:gatewayA", Action.APPLY, "Callback", None, b"x")
    assert store.append([Write(StreamKey("main", "c"), Head(), (Part((), (), None, (work,)),))]) == [COMMITTED]
    assert store.queued_due(["gatewayA"], 1) == []
    assert store.queued_due(["callbacks:gatewayA"], 1) == [QueuedWork("callback-1", 1, None, "callbacks:gatewayA")]


def test_parked_work_waits_for_an_operator(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Parked work is never due; it can be queued again."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    change(store, customer, Step(work=(move("t1", state=WorkState.PARKED),)))
    pass_time(1_000_000)
    assert claimed(store) == []
    assert store.next_due_s("gatewayA") is None
    assert store.work_counts() == {("gatewayA", "parked"): 1}
    change(store, customer, Step(work=(move("t1"),)))
    assert claimed(store) == ["t1"]


def test_moved_work_can_stay_leased(store: PaymentStore) -> None:
    """An owner keeps its lease through a move to leased, under a new token; work without an owner is queued instead."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER), customer.deposit("t2")])
    leased = WorkState.LEASED
    change(store, customer, Step(work=(move("t1", state=leased), move("t2", state=leased))))
    assert claimed(store) == ["t2"]
    assert store.append([customer.twin().complete("t1", fence=Fence("t1", 1))]) == [Fenced(0)]
    assert store.append([customer.complete("t1", fence=Fence("t1", 2))]) == [COMMITTED]


def test_every_move_renews_the_token(store: PaymentStore) -> None:
    """Tokens go up by one with each move and each claim, so that each holder has a different one."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    for token in range(1, 6):
        assert change(store, customer, Step(fence=Fence("t1", token), work=(move("t1"),))) == COMMITTED
        assert change(store, customer, Step(fence=Fence("t1", token), work=(move("t1"),))) == Fenced(0)
    (item,) = store.claim_work(OWNER, "gatewayA", 1)
    assert item.token == 7


def test_an_unknown_owner_gets_nothing(store: PaymentStore) -> None:
    """An owner that is not registered claims nothing. Work that is opened for it is queued for others.

    Otherwise no missing heartbeat would release it.
    """
    customer = Customer()
    store.append([customer.deposit("t1", owner="stranger"), customer.deposit("t2")])
    assert claimed(store, "stranger") == []
    assert claimed(store) == ["t1", "t2"]


def test_the_work_of_silent_owners_is_queued(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """An owner without a heartbeat for the lease's time loses all its work, and its next heartbeat is False.

    It can append nothing under its tokens even before another owner claims the work. Other owners keep theirs.
    """
    store.register_owner(OTHER)
    silent, alive = Customer("silent"), Customer("alive")
    store.append([silent.deposit("t1", owner=OWNER), silent.deposit("t2", owner=OWNER)])
    store.append([alive.deposit("t3", owner=OTHER)])
    pass_time(10)
    assert store.heartbeat(OTHER)
    pass_time(6)
    assert store.release_dead(20) == 0
    assert store.release_dead(15) == 2
    assert store.release_dead(15) == 0
    assert not store.heartbeat(OWNER)
    assert store.heartbeat(OTHER)
    assert store.append([silent.twin().complete("t1", fence=Fence("t1", 1))]) == [Fenced(0)]
    assert store.next_due_s("gatewayA") == 0
    assert claimed(store, OTHER) == ["t1", "t2"]
    assert store.append([alive.complete("t3", fence=Fence("t3", 1))]) == [COMMITTED]


def test_a_clock_set_back_does_not_keep_dead_owners_alive(
    store: PaymentStore, pass_time: Callable[[float], None]
) -> None:
    """An owner whose heartbeat is further in the future than the lease is dead, like one that far in the past."""
    store.append([Customer().deposit("t1", owner=OWNER)])
    pass_time(-10)
    assert store.release_dead(15) == 0
    pass_time(-10)
    assert store.release_dead(15) == 1


def test_an_owner_that_was_declared_dead_can_return(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """After it has registered again an owner gets new work like any other."""
    pass_time(100)
    store.release_dead(15)
    store.append([Customer().deposit("t1", owner=OWNER)])
    assert store.work_counts() == {("gatewayA", "queued"): 1}
    store.register_owner(OWNER)
    assert store.heartbeat(OWNER)
    assert claimed(store) == ["t1"]


def test_registering_again_is_a_heartbeat(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A second registration keeps the leases, and counts as a heartbeat."""
    store.append([Customer().deposit("t1", owner=OWNER)])
    pass_time(100)
    store.register_owner(OWNER)
    assert store.release_dead(15) == 0
    assert store.work_counts() == {("gatewayA", "leased"): 1}


def test_a_retiring_owner_queues_its_work(store: PaymentStore) -> None:
    """An owner that retires queues its leased work, due at once, and is no longer registered."""
    store.register_owner(OTHER)
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER), customer.deposit("t2", owner=OTHER)])
    assert store.retire_owner(OWNER, unsent=True) == 1
    assert not store.heartbeat(OWNER)
    assert claimed(store, OTHER) == ["t1"]
    assert store.retire_owner(OWNER, unsent=True) == 0


def test_concurrent_claims_never_get_the_same_work(store: PaymentStore) -> None:
    """Each piece of work goes to one of the owners that claim at the same time."""
    store.register_owner(OTHER)
    customer = Customer()
    store.append([customer.deposit(f"t{number:03}") for number in range(100)])
    got: dict[str, list[str]] = {OWNER: [], OTHER: []}

    def run(owner: str) -> None:
        while some := claimed(store, owner, limit=3):
            got[owner] += some

    threads = [threading.Thread(target=run, args=(owner,)) for owner in got for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got[OWNER] + got[OTHER]) == [f"t{number:03}" for number in range(100)]


def test_the_lowest_vocabulary_of_the_owners(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A process that knows fewer events counts while it is registered, alive or not."""
    assert store.vocabulary_floor() == VOCABULARY
    store.register_owner(OTHER, 1)
    assert store.vocabulary_floor() == 1
    assert store.heartbeat(OTHER)
    store.register_owner(OTHER, VOCABULARY)
    assert store.vocabulary_floor() == VOCABULARY, "an owner that registers again replaces its vocabulary"
    store.register_owner(OTHER, 1)
    store.retire_owner(OTHER, unsent=True)
    assert store.vocabulary_floor() == VOCABULARY
    store.register_owner(OTHER, 1)
    pass_time(10)
    store.heartbeat(OWNER)
    pass_time(10)
    assert store.vocabulary_floor() == 1
    store.release_dead(15)
    assert store.vocabulary_floor() == VOCABULARY
    store.register_owner(OTHER, VOCABULARY + 5)
    store.retire_owner(OWNER, unsent=True)
    assert store.vocabulary_floor() == VOCABULARY + 5
    store.retire_owner(OTHER, unsent=True)
    assert store.vocabulary_floor() == VOCABULARY, "no owner is registered"
