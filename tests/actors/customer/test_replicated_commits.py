"""A write in doubt that is found on record is confirmed by a commit before any answer or sending.

A store whose synchronous replica is away stores every write, but reports its commit as uncertain: the record may be
gone after a failover.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import repeat

import pytest

from actors.customer.command_operation import CommandOperation
from actors.operations.callback import StoredCallbackOperation
from actors.operations.close_review import CloseReviewOperation
from actors.replies import Accepted, Adjusted, Closed, Taken
from domain.account import Account
from domain.commands import RecordCallback
from domain.money import Money
from domain.outcomes import Approved
from store.errors import CommitUncertainError
from store.port import AppendResult, Head, Snapshot, StreamKey, Write
from tests.actors.customer.fixtures import Customers, answer
from tests.actors.operations.fixtures import adjust, claim, open_review, resolve, unknown, unmatched
from tests.actors.support import GATEWAY, Trouble, TroubledStore, stream

UNCERTAIN = CommitUncertainError("the replica is away")
AWAY_S = 5.0
"""Below the deadline of a request."""
LONG = 200

Begin = Callable[[Customers], Callable[[], CommandOperation | None]]
"""Prepares the state; the function that it returns begins the operation."""


def _receive(customers: Customers) -> Callable[[], CommandOperation]:
    return customers.send


def _receive_with_key(customers: Customers) -> Callable[[], CommandOperation]:
    return lambda: customers.send(key="k-1")


def _discard(customers: Customers) -> Callable[[], CommandOperation]:
    letter = customers.dead_letter()
    return lambda: customers.discard(letter)


def _resolve(customers: Customers) -> Callable[[], CommandOperation]:
    item = unknown(customers)
    return lambda: resolve(customers, item)


def _adjust(customers: Customers) -> Callable[[], CommandOperation]:
    customers.completed()
    return lambda: adjust(customers, 500)


def _close(customers: Customers) -> Callable[[], CommandOperation]:
    request = open_review(customers)

    def begin() -> CommandOperation:
        customers.router.tell(stream(), request)
        return request

    return begin


def _close_again(customers: Customers) -> Callable[[], CommandOperation]:
    first = open_review(customers)
    customers.router.tell(stream(), first)
    customers.run()
    (view,) = customers.real.reviews("main", "closed", before=None, limit=10)

    def begin() -> CommandOperation:
        request = CloseReviewOperation(first.command, view.review, first.metadata)
        request.deadline = customers.runtime.monotonic() + 10.0
        customers.router.tell(stream(), request)
        return request

    return begin


def _callback(customers: Customers) -> Callable[[], CommandOperation]:
    item = customers.deposited()
    return lambda: customers.callback(item, Approved(f"A-{item.work_id}", final=True))


REQUESTS: dict[str, tuple[Begin, type]] = {
    "receive": (_receive, Accepted),
    "receive under a key": (_receive_with_key, Accepted),
    "discard": (_discard, Accepted),
    "resolve": (_resolve, Accepted),
    "adjust": (_adjust, Adjusted),
    "close a review": (_close, Closed),
    "close a review that is closed": (_close_again, Closed),
    "callback": (_callback, Taken),
}


def _replica_goes(store: TroubledStore) -> None:
    store.inject("append", *repeat(Trouble(UNCERTAIN, after=True), LONG))


def _replica_comes(store: TroubledStore) -> None:
    store._trouble.clear()


@pytest.mark.parametrize("name", REQUESTS)
def test_no_answer_goes_out_before_the_replica_confirms(customers: Customers, store: TroubledStore, name: str) -> None:
    """This holds however often it is found on record. After that there is one answer, and it was carried out once."""
    begin, kind = REQUESTS[name]
    start = begin(customers)
    handed_over = len(customers.handed_over())
    _replica_goes(store)
    request = start()
    assert request is not None
    customers.run(AWAY_S)
    on_record = customers.types()
    assert not request.reply.done
    assert len(customers.handed_over()) == handed_over
    _replica_comes(store)
    customers.run(2.0)
    assert isinstance(answer(request), kind)
    assert customers.types() == on_record
    assert len(customers.handed_over()) == handed_over + (kind is Accepted and name.startswith("receive"))


def test_a_submission_is_not_sent_before_the_replica_confirms(keyless: Customers, store: TroubledStore) -> None:
    """A gateway without keys is not called while a failover may lose the record of the submission."""
    item = keyless.deposited()
    _replica_goes(store)
    keyless.submit(item)
    keyless.run(AWAY_S)
    assert keyless.submitted() == [(item.work_id, 1)]
    assert keyless.cleared() == []
    _replica_comes(store)
    keyless.run(2.0)
    assert [one.work_id for one in keyless.sendable()] == [item.work_id]
    assert store.batches[-1][0].confirm
    assert keyless.submitted() == [(item.work_id, 1)]


def test_an_outcome_is_kept_until_the_replica_confirms(customers: Customers, store: TroubledStore) -> None:
    """The process that has the gateway's answer keeps it until then."""
    item = customers.deposited()
    _replica_goes(store)
    customers.report(item, Approved("A-1", final=True))
    customers.run(AWAY_S)
    appends = len(store.batches)
    customers.run(AWAY_S)
    assert len(store.batches) > appends, "it was forgotten"
    _replica_comes(store)
    customers.run(2.0)
    appends = len(store.batches)
    customers.run(AWAY_S)
    assert len(store.batches) == appends
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]


def test_a_stored_callback_is_kept_until_the_replica_confirms(customers: Customers, store: TroubledStore) -> None:
    """The same must hold for a callback that arrived before its transaction."""
    item = customers.deposited()
    unmatched(customers, item.work_id)
    (claimed,) = claim(customers)
    reference = f"A-{item.work_id}"
    command = RecordCallback(item.work_id, GATEWAY, reference, Money(10_000, "USD"), Approved(reference, final=True))
    _replica_goes(store)
    customers.router.tell(item.stream, StoredCallbackOperation(claimed, command))
    customers.run(AWAY_S)
    appends = len(store.batches)
    customers.run(AWAY_S)
    assert len(store.batches) > appends, "it was forgotten"
    _replica_comes(store)
    customers.run(2.0)
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert customers.real.work_counts() == {}


class _FailedOver(TroubledStore):
    """Fails over when it is read: the old primary returns the uncertain write once; the new one never had it."""

    lost: Write | None = None
    over = False

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """Uncertain until the failover."""
        if self.over:
            return super().append(writes)
        (self.lost,) = writes
        raise UNCERTAIN

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """As the old primary has it, the first time after an append."""
        now = super().load(stream, transaction_ids)
        if self.lost is None or self.over:
            return now
        self.over = True
        last = self.lost.parts[-1].events[-1]
        rows = {transaction.transaction_id: transaction for transaction in self.lost.transactions}
        account = Account(now.account.customer_id, last.version, now.account.balances, rows)
        return Snapshot(Head(last.version, last.hash), account)


def test_what_the_new_primary_does_not_have_is_stored_again(customers: Customers, store: TroubledStore) -> None:
    """It was read on the old primary. The new one never received it, so a commit there is no confirmation."""
    customers.completed()
    failing = _FailedOver(store)
    there = Customers(customers.runtime, failing, customers.real, owner="owner-3")
    request = there.send()
    there.run(5.0)
    assert failing.over
    assert isinstance(answer(request), Accepted)
    assert customers.types() == ["DepositReceived", "DepositProcessed", "DepositCompleted", "DepositReceived"]
    assert [item.work_id for item in there.handed_over()] == [request.transaction_id]


def test_what_goes_the_normal_way_is_not_confirmed_again(customers: Customers, store: TroubledStore) -> None:
    """A commit that was answered needs no confirmation: one write for each step."""
    customers.completed()
    assert [write.confirm for batch in store.batches for write in batch] == [False, False]
