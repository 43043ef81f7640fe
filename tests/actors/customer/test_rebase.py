"""Two processes on one stream: the loser of a conflict rebases, and loads again only if necessary."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.customer.rebase import rebase
from actors.replies import Accepted
from domain.account import Account, Refused
from domain.outcomes import Approved
from store.port import Conflict, StoredEvent
from tests.actors.customer.fixtures import Customers, answer
from tests.actors.support import TroubledStore, stream


@pytest.fixture
def other(another_process: Callable[[], Customers]) -> Customers:
    """Another process on the same store."""
    return another_process()


def missed(customers: Customers, after: int) -> list[StoredEvent]:
    """The customer's events above a version, as the store returns them to the loser of a conflict."""
    return [*customers.real.stream_events(stream("c1"), after=after, limit=100)]


def test_events_of_another_process_are_rebased_without_a_load(
    customers: Customers, other: Customers, store: TroubledStore
) -> None:
    """The conflict returns the missed events: commands of both are stored without a second load."""
    customers.deposited()
    for _ in range(3):
        other.deposited()
    loads = len(store.loads)
    request = customers.send()
    customers.run()
    assert isinstance(answer(request), Accepted)
    assert len(store.loads) == loads
    assert [recorded.version for recorded in customers.events()] == [1, 2, 3, 4, 5]


def test_a_transaction_that_is_not_held_is_loaded(customers: Customers, other: Customers, store: TroubledStore) -> None:
    """An event of a transaction that this process does not hold cannot be folded: one load follows."""
    item = other.deposited()
    customers.send()
    customers.run()  # in memory now, but for the other's transaction
    other.report(item, Approved("A-1", final=True))
    other.run()
    loads = len(store.loads)
    request = customers.send(minor=300)
    customers.run()
    assert isinstance(answer(request), Accepted)
    assert len(store.loads) == loads + 1


def test_a_refusal_after_a_conflict_counts_what_was_missed(customers: Customers, other: Customers) -> None:
    """Of two withdrawals that the balance covers once, in two processes with equal state in memory, one is refused."""
    customers.completed(minor=10_000)
    other.deposited(minor=1)
    customers.run()
    mine, theirs = customers.withdraw(minor=7_000), other.withdraw(minor=7_000)
    customers.run()
    answers = [answer(mine), answer(theirs)]
    assert sorted(type(one).__name__ for one in answers) == ["Accepted", "Refused"]
    refused = next(one for one in answers if isinstance(one, Refused))
    assert refused.code == "insufficient-funds"


def test_every_command_of_many_at_once_ends_stored(customers: Customers, other: Customers) -> None:
    """However often two processes conflict on one stream, both continue."""
    requests = []
    for _ in range(20):
        requests += [process.send() for _ in range(5) for process in (customers, other)]
        customers.run()
    assert all(isinstance(answer(request), Accepted) for request in requests)
    assert [recorded.version for recorded in customers.events()] == list(range(1, 201))
    conflicts = [
        result
        for batch in customers.heard.batches + other.heard.batches
        for result in batch
        if isinstance(result, Conflict)
    ]
    assert conflicts, "each round one of them was behind"


def test_catching_up_is_the_fold_of_the_events(customers: Customers) -> None:
    """From any earlier state, folding the missed events gives the same state as folding all events."""
    for _ in range(3):
        customers.completed()
    events = missed(customers, 0)
    whole = rebase(Account("c1"), events)
    assert whole is not None
    for known in range(1, len(events)):
        before = rebase(Account("c1"), events[:known])
        assert before is not None
        assert rebase(before[0], events[known:]) == whole
    assert whole[1] == customers.real.load(stream("c1")).head
    assert whole[0].balances == customers.real.load(stream("c1")).account.balances


def test_what_cannot_be_folded_needs_a_load(customers: Customers) -> None:
    """No events (the head was never in the stream), a transaction that is not held, and one of a newer version."""
    customers.completed()
    events = missed(customers, 0)
    assert rebase(Account("c1"), []) is None
    without_its_beginning = Account("c1", version=1)
    assert rebase(without_its_beginning, events[1:]) is None
    newer = events[0]._replace(body=events[0].body.replace(b"DepositReceived", b"DepositForeseen"))
    assert rebase(Account("c1"), [newer]) is None
