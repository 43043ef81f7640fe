"""Contract of what callbacks need: work that belongs to no transaction yet, and whose a transaction is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from store.backend import PaymentStore
from store.port import (
    Action,
    Claim,
    CloseWork,
    Committed,
    DeadLetterFilter,
    Duplicate,
    Fence,
    Head,
    OpenWork,
    Part,
    StreamKey,
    WorkState,
    Write,
)
from tests.store.builders import OWNER, Customer, Step, move

COMMITTED = Committed()
GATEWAY = StreamKey("gateways", "gatewayA")
BODY = b'{"reference": "early"}'
CALLBACK = Claim("callback:gatewayA", "event-7", BODY)


def stored(claim: Claim = CALLBACK, work_id: str = "apply-7") -> Write:
    """A callback that is kept for later: its claim and its work, without an event."""
    work = OpenWork(work_id, None, "gatewayA", Action.APPLY, "CallbackReceived", None, BODY)
    return Write(GATEWAY, Head(), (Part(claims=(claim,), work=(work,)),))


def test_a_callback_is_stored_as_work(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A callback without a transaction is work with its bytes. It is retried later, and closed when it is matched."""
    assert store.append([stored()]) == [COMMITTED]
    (item,) = store.claim_work(OWNER, "gatewayA", 10)
    assert (item.action, item.payload, item.transaction, item.stream) == (Action.APPLY, BODY, None, GATEWAY)
    again = Part(fence=Fence("apply-7", item.token), work=(move("apply-7", action=Action.APPLY, delay_s=60),))
    assert store.append([Write(GATEWAY, Head(), (again,))]) == [COMMITTED]
    assert store.hasten_lookups("gatewayA") == 0, "it must not be a lookup"
    pass_time(61)
    (item,) = store.claim_work(OWNER, "gatewayA", 10)
    assert (item.action, item.attempts, item.payload) == (Action.APPLY, 1, BODY)
    customer = Customer()
    matched = Step(fence=Fence("apply-7", item.token), work=(CloseWork("apply-7"),))
    assert store.append([customer.deposit("early", owner=OWNER), customer.write(matched)]) == [COMMITTED] * 2
    assert store.work_counts() == {("gatewayA", "leased"): 1}


def test_a_repeated_callback_is_recognised_by_its_claim(store: PaymentStore) -> None:
    """An identical callback is a repetition. With the same id and other bytes, the claim returns the first one."""
    other = stored(Claim(*CALLBACK[:2], b"other"), "apply-8")
    assert store.append([stored(), stored(), other]) == [COMMITTED, COMMITTED, Duplicate(0, CALLBACK)]
    assert store.work_counts() == {("gatewayA", "queued"): 1}


def test_a_callback_that_is_never_matched_is_a_dead_letter(store: PaymentStore) -> None:
    """Work that applies a callback waits for an operator like other work, in the list of the merchant main only."""
    store.append([stored()])
    (item,) = store.claim_work(OWNER, "gatewayA", 10)
    parked = move("apply-7", action=Action.APPLY, state=WorkState.PARKED)
    part = Part(fence=Fence("apply-7", item.token), work=(parked,))
    assert store.append([Write(GATEWAY, Head(), (part,))]) == [COMMITTED]
    customer = Customer()
    store.append([customer.deposit("a-dead"), customer.deposit("z-dead")])
    dead = [move(key, state=WorkState.DEAD, delay_s=60) for key in ("a-dead", "z-dead")]
    store.append([customer.write(Step(work=dead))])
    letter = store.dead_letter("main", "apply-7")
    assert letter is not None
    for where, ids in (
        (DeadLetterFilter(), ["z-dead", "apply-7", "a-dead"]),
        (DeadLetterFilter(state=WorkState.PARKED), ["apply-7"]),
        (DeadLetterFilter(gateway="gatewayB"), []),
    ):
        letters = store.dead_letters("main", where, before=None, limit=10)
        assert [one.item.work_id for one in letters] == ids
    assert (letter.item.action, letter.transaction_id, letter.state) == (Action.APPLY, None, WorkState.PARKED)
    assert store.dead_letter("other", "apply-7") is None
    assert store.work("other", "apply-7") is None
    assert store.dead_letters("other", DeadLetterFilter(), before=None, limit=10) == []
    for where in (DeadLetterFilter(state=WorkState.PARKED), DeadLetterFilter(work_id="apply-7")):
        assert store.retry_dead("other", where) == 0
    assert store.retry_dead("main", DeadLetterFilter(state=WorkState.PARKED)) == 1


@pytest.mark.parametrize("transaction_id", ["none", "", "\x00", "\ud800", "t1\x00"])
def test_an_unknown_transaction_has_no_stream(store: PaymentStore, transaction_id: str) -> None:
    """An id without a transaction, or an invalid id, has no stream."""
    store.append([Customer().deposit("t1")])
    assert store.stream_of(transaction_id) is None


def test_the_stream_of_a_transaction(store: PaymentStore) -> None:
    """The stream of a transaction is found by its id alone, for any merchant."""
    mine, others = Customer("a"), Customer("b", "other")
    store.append([mine.deposit("t1"), others.deposit("t2"), mine.complete("t1")])
    assert [store.stream_of(key) for key in ("t1", "t2")] == [mine.stream, others.stream]
