"""Contract of the refusals of ``Store.append``: taken claims, stale tokens, and values that cannot be stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.account import Balance
from domain.events import OutcomeUnknown
from store.backend import PaymentStore
from store.errors import UnstorableError
from store.port import (
    Claim,
    Committed,
    Conflict,
    Duplicate,
    Fence,
    Fenced,
    Head,
    OpenWork,
    Part,
    StreamKey,
    WorkState,
    Write,
)
from tests.store.builders import OWNER, Customer, Step, complete, deposit, move, open_work, received
from tests.store.looking import contents, versions

COMMITTED = Committed()


def test_a_claim_is_taken_once(store: PaymentStore) -> None:
    """A taken claim refuses the write. The answer has the number of the part and the held value."""
    customer = Customer()
    store.append([customer.deposit("t1", claims=[Claim("key", "1", b"first")])])
    before = contents(store)
    write = customer.twin().write(
        deposit("t2", claims=[Claim("key", "2", b"second")]), deposit("t3", claims=[Claim("key", "1", b"third")])
    )
    assert store.append([write]) == [Duplicate(1, Claim("key", "1", b"first"))]
    assert contents(store) == before
    again = customer.deposit("t4", claims=[Claim("key", "2", b"fourth")])
    assert store.append([again]) == [COMMITTED], "the claim of the refused write's other part must be free"


def test_events_under_a_claim_held_by_the_same_value(store: PaymentStore) -> None:
    """A taken claim never makes new events count as stored, whatever its value."""
    customer = Customer()
    claim = Claim("key", "1", b"the same")
    store.append([customer.deposit("t1", claims=[claim])])
    assert store.append([customer.twin().deposit("t2", claims=[claim])]) == [Duplicate(0, claim)]
    assert versions(store, customer.stream) == [1]


def test_parts_of_one_write_may_not_claim_the_same(store: PaymentStore) -> None:
    """When two parts of a write have the same claim, the later one is a duplicate, and nothing is stored."""
    customer = Customer()
    first = Claim("key", "1", b"t1")
    write = customer.write(deposit("t1", claims=[first]), deposit("t2", claims=[Claim("key", "1", b"t2")]))
    assert store.append([write]) == [Duplicate(1, first)]
    assert versions(store, customer.stream) == []


def test_claims_of_other_scopes_do_not_collide(store: PaymentStore) -> None:
    """A key is unique only within its scope."""
    customer = Customer()
    writes = [
        customer.deposit("t1", claims=[Claim("deposit", "1", b"")]),
        customer.deposit("t2", claims=[Claim("x", "1", b"")]),
    ]
    assert store.append(writes) == [COMMITTED, COMMITTED]


@pytest.mark.parametrize("fence", [Fence("t1", 2), Fence("t1", 0), Fence("nothing", 1)])
def test_a_stale_token_stores_nothing(store: PaymentStore, fence: Fence) -> None:
    """A write that is fenced by a token that the work does not have, or by work that is closed, stores nothing."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    before = contents(store)
    assert store.append([customer.complete("t1", fence=fence)]) == [Fenced(0)]
    assert contents(store) == before


def test_the_fenced_part_is_named(store: PaymentStore) -> None:
    """One stale part refuses the whole write, and its number is returned."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER), customer.deposit("t2", owner=OWNER)])
    before = contents(store)
    write = customer.write(complete("t1", fence=Fence("t1", 1)), complete("t2", fence=Fence("t2", 9)))
    assert store.append([write]) == [Fenced(1)]
    assert contents(store) == before


def test_fences_are_checked_before_anything_moves(store: PaymentStore) -> None:
    """Two parts of one write may have the same token: both are compared with the work before the write."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    write = customer.write(Step((), fence=Fence("t1", 1), work=(move("t1"),)), complete("t1", fence=Fence("t1", 1)))
    assert store.append([write]) == [COMMITTED]


def test_which_of_several_refusals_is_reported(store: PaymentStore) -> None:
    """A conflict comes before duplicates and stale tokens. The first part is reported, its claim before its fence."""
    customer = Customer()
    stale = customer.twin()
    store.append([customer.deposit("t1", owner=OWNER, claims=[Claim("key", "1", b"t1")])])
    taken, gone = Claim("key", "1", b"x"), Fence("t1", 5)
    (answer,) = store.append([stale.write(Step((received("t2"),), (taken,), gone))])
    assert isinstance(answer, Conflict)
    both = customer.twin().write(Step((received("t2"),), (taken,), gone))
    assert store.append([both]) == [Duplicate(0, Claim("key", "1", b"t1"))]
    fence_first = customer.twin().write(Step((received("t2"),), (), gone), Step((received("t3"),), (taken,)))
    assert store.append([fence_first]) == [Fenced(0)]


def test_a_claim_without_events_is_recognised_by_its_value(store: PaymentStore) -> None:
    """A write of claims alone is a repetition when they are held by equal values, and otherwise a duplicate.

    In both cases it changes nothing, not even its work.
    """
    stream = StreamKey("main", "c")
    work = OpenWork("w", None, "gatewayA", open_work("w").action, "Callback", None, b"raw")
    first = Write(stream, Head(), (Part((), (Claim("callback", "1", b"hash"),), None, (work,)),))
    other = Write(stream, Head(), (Part((), (Claim("callback", "1", b"else"),), None, (work,)),))
    assert store.append([first]) == [COMMITTED]
    before = contents(store)
    held = Claim("callback", "1", b"hash")
    assert store.append([first, other, first]) == [COMMITTED, Duplicate(0, held), COMMITTED]
    assert contents(store) == before
    two = Write(stream, Head(), (Part((), (held, Claim("callback", "2", b"new"))),))
    assert store.append([two]) == [Duplicate(0, held)], "one new claim makes it another write"


def test_work_is_opened_once(store: PaymentStore) -> None:
    """A second piece of work with the same id is an error, and nothing of the batch is stored."""
    customer, other = Customer(), Customer("other")
    store.append([customer.deposit("t1")])
    before = contents(store)
    with pytest.raises(UnstorableError):
        store.append([other.deposit("t9"), customer.write(Step((received("t2"),), work=(open_work("t1"),)))])
    assert contents(store) == before


def _negative_balance(customer: Customer) -> Write:
    write = customer.deposit("bad")
    return Write(write.stream, write.head, write.parts, write.transactions, (("USD", Balance(-1, 0)),))


def _lone_surrogate(customer: Customer) -> Write:
    return customer.deposit("bad", claims=[Claim("key", "\ud800", b"")])


def _short_hash(customer: Customer) -> Write:
    (part,) = (write := customer.deposit("bad")).parts
    return Write(write.stream, write.head, (Part((part.events[0]._replace(hash=b"short"),)),))


def _too_large(customer: Customer) -> Write:
    write = customer.deposit("bad")
    return Write(write.stream, write.head, write.parts, write.transactions, (("USD", Balance(2**63, 0)),))


def _gap(customer: Customer) -> Write:
    (part,) = (write := customer.deposit("bad")).parts
    return Write(write.stream, write.head, (Part((part.events[0]._replace(version=5),)),))


def _transaction_of_another(customer: Customer) -> Write:
    write = customer.deposit("t0")
    return Write(write.stream, write.head, (Part(write.parts[0].events),), write.transactions)


@pytest.mark.parametrize(
    "spoil", [_negative_balance, _lone_surrogate, _short_hash, _too_large, _gap, _transaction_of_another]
)
def test_a_value_that_cannot_be_stored_is_an_error(store: PaymentStore, spoil: Callable[[Customer], Write]) -> None:
    """A write with a value that the database refuses fails the call, and nothing of the batch is stored.

    The other writes can be stored one by one.
    """
    store.append([Customer("before").deposit("t0")])
    before = contents(store)
    good, bad = Customer("good").deposit("t1"), spoil(Customer("bad"))
    with pytest.raises(UnstorableError):
        store.append([good, bad])
    assert contents(store) == before
    assert store.append([good]) == [COMMITTED]
    with pytest.raises(UnstorableError):
        store.append([bad])


def test_unknown_outcome_keeps_its_work_under_a_new_token(store: PaymentStore) -> None:
    """An append that advances a transaction renews its work's token. An answer with the old token is fenced."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    late = customer.twin()
    kind = customer.kind("t1")
    by_callback = customer.write(Step((OutcomeUnknown(kind, "t1", "timeout"),), work=(move("t1", delay_s=5),)))
    assert store.append([by_callback]) == [COMMITTED]
    late.account, late.head = customer.account, customer.head
    assert store.append([late.complete("t1", fence=Fence("t1", 1))]) == [Fenced(0)]
    assert store.work_counts() == {("gatewayA", WorkState.QUEUED): 1}


def test_a_repeated_claim_hides_no_other_part(store: PaymentStore) -> None:
    """A write without events is a repetition only when all of it is stored: a part without claims may be new."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    claim = Claim("callback:gatewayA", "evt-1", b"{}")
    again = Part(claims=(claim,))
    assert store.append([Write(customer.stream, Head(), (again,))]) == [COMMITTED]
    assert store.append([Write(customer.stream, Head(), (again,))]) == [COMMITTED]
    moved = Part(fence=Fence("t1", 1), work=(move("t1"),))
    for parts in ((again, moved), (moved, again)):
        write = Write(customer.stream, Head(), parts)
        assert store.append([write]) == [Duplicate(parts.index(again), claim)]
    assert store.work_counts() == {("gatewayA", "leased"): 1}
