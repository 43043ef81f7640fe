"""Idempotency keys at the customers' actors: one transaction for a key, despite deaths and writes in doubt."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.customer.idempotency import IdempotencyKey, claim_of, replay
from actors.replies import Accepted, NotStored, Replayed
from domain.account import Refused
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError
from store.port import Claim
from tests.actors.customer.fixtures import DEADLINE_S, Customers, actor_of, answer
from tests.actors.support import GATEWAY, Trouble, TroubledStore

AWAY = StoreUnavailableError("away")
UNCERTAIN = CommitUncertainError("cut")


def received(customers: Customers, *names: str) -> int:
    """How many transactions these customers have."""
    return sum(kind.endswith("Received") for name in names or ("c1",) for kind in customers.types(name))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_key_is_one_transaction(customers: Customers, *, at_once: bool) -> None:
    """Together or one after the other: the first is accepted, and all others get its transaction as a replay."""
    requests = [customers.send(key="k") for _ in range(4 if at_once else 1)]
    customers.run()
    while len(requests) < 4:
        requests.append(customers.send(key="k"))
        customers.run()
    first, *others = [answer(request) for request in requests]
    assert isinstance(first, Accepted)
    assert others == [Replayed(first.transaction.transaction_id)] * 3
    assert received(customers) == 1
    assert len(customers.handed_over()) == 1


def test_a_key_is_one_transaction_over_all_processes(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """Two processes that get the same command at once: one carries it out, and one process has its work."""
    other = another_process()
    mine, theirs = customers.send(key="k"), other.send(key="k")
    customers.run(1.0)
    kinds = sorted(type(answer(request)).__name__ for request in (mine, theirs))
    assert kinds == ["Accepted", "Replayed"]
    assert received(customers) == 1
    assert len([*customers.handed_over(), *other.handed_over()]) == 1


def test_neighbours_of_a_repetition_are_stored(customers: Customers) -> None:
    """A repetition in a batch affects no other operation of it."""
    customers.send(key="k")
    customers.run()
    requests = [customers.send(), customers.send(key="k"), customers.send(key="other"), customers.send()]
    customers.run()
    kinds = [type(answer(request)).__name__ for request in requests]
    assert kinds == ["Accepted", "Replayed", "Accepted", "Accepted"]
    assert received(customers) == 4


def test_another_command_under_the_key_is_refused(customers: Customers) -> None:
    """The key is refused for another amount, and for another customer with another stream."""
    customers.send(key="k")
    customers.run()
    for other in (customers.send(minor=1, key="k"), customers.send("c2", key="k")):
        customers.run()
        refused = answer(other)
        assert isinstance(refused, Refused)
        assert refused.code == "idempotency-key-reused"
    assert received(customers, "c1", "c2") == 1


@pytest.mark.parametrize("goes_well", [0, 1, 2])
def test_a_repetition_waits_for_the_result_of_the_first(
    customers: Customers, store: TroubledStore, goes_well: int
) -> None:
    """Of two that come together the second waits for the result of the first, whichever write fails."""
    customers.deposited()
    store.inject("append", *[None] * goes_well, AWAY)
    requests = [customers.send(), customers.send(key="k"), customers.send(key="k")]
    customers.run(5.0)
    stored = {transaction.transaction.transaction_id for transaction in customers.listed()}
    for request in requests:
        said = answer(request)
        if isinstance(said, Replayed):
            assert said.transaction_id in stored
        else:
            assert isinstance(said, Accepted) == (request.transaction_id in stored)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("then", [AWAY, UNCERTAIN])
def test_a_commit_in_doubt_is_not_taken_for_a_repetition(
    customers: Customers, store: TroubledStore, *, stored: bool, then: Exception
) -> None:
    """Whether or not the first write was stored, its own request is accepted, and its work dispatched, once."""
    customers.deposited()
    store.inject("append", Trouble(UNCERTAIN, after=stored), then)
    request = customers.send(key="k")
    customers.run(5.0)
    again = customers.send(key="k")
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert answer(again) == Replayed(request.transaction_id)
    assert received(customers) == 2
    assert [item.work_id for item in customers.handed_over()].count(request.transaction_id) == 1


def test_an_actor_that_dies_with_a_keyed_command_in_hand(customers: Customers, store: TroubledStore) -> None:
    """Its successor neither loses the command nor accepts it a second time."""
    customers.deposited()
    request = customers.send(key="k")
    customers.run_until(lambda: len(store.batches) == 2)
    actor_of(customers)._batch = None  # the answer of the store finds an actor that cannot take it
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert received(customers) == 2


def test_what_was_not_stored_holds_no_key(customers: Customers, store: TroubledStore) -> None:
    """After "not stored" the same key is free for the next command."""
    customers.deposited()
    store.inject("append", AWAY)
    first = customers.send(key="k")
    customers.run(1.0)
    again = customers.send(minor=5, key="k")
    customers.run(1.0)
    assert isinstance(answer(first), NotStored)
    assert isinstance(answer(again), Accepted)


# refusals


def test_a_refusal_under_a_key_is_final(customers: Customers) -> None:
    """A refused command is refused again with the same text, although the balance would cover it by then."""
    customers.completed(minor=100)
    first = customers.withdraw(minor=500, key="k")
    customers.run()
    customers.completed(minor=1_000)
    again, other = customers.withdraw(minor=500, key="k"), customers.withdraw(minor=500, key="k-2")
    customers.run()
    refused, repeated = answer(first), answer(again)
    assert isinstance(refused, Refused)
    assert isinstance(repeated, Refused)
    assert (refused.code, refused.facts) == ("insufficient-funds", {"available": "1.00", "currency": "USD"})
    assert (repeated.code, repeated.detail, repeated.facts) == (refused.code, refused.detail, refused.facts)
    assert (refused.replayed, repeated.replayed) == (False, True)
    assert isinstance(answer(other), Accepted)
    assert customers.types().count("WithdrawalReceived") == 1


def test_a_refusal_that_comes_again_at_once_is_a_replay(customers: Customers) -> None:
    """This holds also while the balance, and so the text of the refusal, is the same."""
    customers.completed(minor=100)
    requests = []
    for _ in range(3):
        requests.append(customers.withdraw(minor=500, key="k"))
        customers.run()
    answers = [answer(request) for request in requests]
    assert [said.replayed for said in answers if isinstance(said, Refused)] == [False, True, True]


def test_a_withdrawal_that_was_taken_on_is_repeated_though_nothing_is_left(customers: Customers) -> None:
    """The repetition of an accepted withdrawal is not a second one, so it cannot be refused for lack of money."""
    customers.completed(minor=500)
    first = customers.withdraw(minor=500, key="k")
    customers.run()
    again = customers.withdraw(minor=500, key="k")
    customers.run()
    assert isinstance(answer(first), Accepted)
    assert answer(again) == Replayed(first.transaction_id)


def test_a_refusal_is_answered_once_it_is_on_record(customers: Customers, store: TroubledStore) -> None:
    """A refusal that could not be recorded is not sent, and the command may still be accepted."""
    customers.completed(minor=100)
    store.inject("append", AWAY)
    first = customers.withdraw(minor=500, key="k")
    customers.run(1.0)
    assert isinstance(answer(first), NotStored)
    customers.completed(minor=1_000)
    again = customers.withdraw(minor=500, key="k")
    customers.run()
    assert isinstance(answer(again), Accepted)


@pytest.mark.parametrize("stored", [False, True])
def test_a_refusal_whose_record_is_in_doubt_ends_with_one_answer(
    customers: Customers, store: TroubledStore, *, stored: bool
) -> None:
    """Whether or not the first write was stored, its reply is the same as that of a repetition."""
    customers.completed(minor=100)
    store.inject("append", Trouble(UNCERTAIN, after=stored), UNCERTAIN)
    first = customers.withdraw(minor=500, key="k")
    customers.run(DEADLINE_S / 2)
    again = customers.withdraw(minor=500, key="k")
    customers.run(DEADLINE_S / 2)
    said, repeated = answer(first), answer(again)
    assert isinstance(said, Refused)
    assert isinstance(repeated, Refused)
    assert (said.code, said.detail) == (repeated.code, repeated.detail)


@pytest.mark.parametrize("then", ["load", "append"])
def test_a_refusal_that_may_be_on_record_is_not_answered_not_stored(
    customers: Customers, store: TroubledStore, then: str
) -> None:
    """After a record whose answer was lost, "not stored" would be untrue: every repetition gets the refusal."""
    customers.completed(minor=100)
    store.inject("append", Trouble(UNCERTAIN, after=True), UNCERTAIN)
    store.inject(then, *[None] * (then == "load"), AWAY, AWAY)
    first = customers.withdraw(minor=500, key="k")
    customers.run(DEADLINE_S / 2)
    assert not isinstance(answer(first), NotStored)
    again = customers.withdraw(minor=500, key="k")
    customers.run(DEADLINE_S / 2)
    said, repeated = answer(first), answer(again)
    assert isinstance(said, Refused)
    assert isinstance(repeated, Refused)
    assert (said.code, said.detail) == (repeated.code, repeated.detail)


def test_a_death_over_a_recorded_refusal_is_not_answered_not_stored(customers: Customers, store: TroubledStore) -> None:
    """The successor has no result of the write. When the store stops answering, "not stored" would be a guess."""
    customers.completed(minor=100)
    before = len(store.batches)
    request = customers.withdraw(minor=500, key="k")
    customers.run_until(lambda: len(store.batches) == before + 1)
    actor_of(customers)._batch = None  # the store's answer finds an actor that dies of it
    store.inject("append", AWAY)
    customers.run(DEADLINE_S / 2)
    assert isinstance(answer(request), Refused)


def test_refusals_beside_commands_that_are_taken_on(customers: Customers) -> None:
    """In one write with events, the refusal under a key is on record as well; one without a key is not recorded."""
    customers.completed(minor=100)
    requests = [
        customers.send(minor=1),  # is being stored while the others gather
        customers.withdraw(minor=500, key="k"),
        customers.send(minor=1),
        customers.withdraw(minor=600),
        customers.withdraw(minor=50, key="k-2"),
    ]
    customers.run()
    kinds = [type(answer(request)).__name__ for request in requests]
    assert kinds == ["Accepted", "Refused", "Accepted", "Refused", "Accepted"]
    customers.completed(minor=10_000)
    again = [customers.withdraw(minor=500, key="k"), customers.withdraw(minor=600)]
    customers.run()
    assert [type(answer(request)).__name__ for request in again] == ["Refused", "Accepted"]


def test_no_work_is_kept_for_a_repetition(customers: Customers) -> None:
    """A lease is taken for the transaction alone."""
    for _ in range(3):
        customers.send(key="k")
    customers.run()
    assert customers.real.work_counts() == {(GATEWAY, "leased"): 1}


# the claim itself


def test_claims_hold_the_result_of_a_command() -> None:
    """The claim stored with a key holds all that the reply to a repetition needs."""
    once = IdempotencyKey("idempotency:deposit:main", "k", "f")
    refused = Refused("insufficient-funds", "Too little.", {"available": "1.00"})
    assert replay(once, claim_of(once, "t-1")) == Replayed("t-1")
    assert replay(once, claim_of(once, "t-1", refused)) == Refused(
        refused.code, refused.detail, refused.facts, replayed=True
    )
    other = once._replace(fingerprint="g")
    assert isinstance(replay(other, claim_of(once, "t-1")), Refused)


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"null", b'{"fingerprint": "f"}', b"\xff"])
def test_an_unreadable_claim_is_a_defect_of_the_store(value: bytes) -> None:
    """It is treated neither as a free key nor as the key of another command."""
    with pytest.raises(CorruptStoreError):
        replay(IdempotencyKey("s", "k", "f"), Claim("s", "k", value))
