"""Commands to a customer's actor: decided together, answered one by one, and either stored or certainly not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.customer.actor import WAITING_MAX
from actors.customer.batching import BATCH_MAX
from actors.messages import NotSent
from actors.replies import Accepted, NotStored
from domain.account import Refused, Status
from domain.outcomes import Approved
from store.errors import StoreUnavailableError
from store.port import OpenWork
from tests.actors.customer.fixtures import Customers, actor_of, answer
from tests.actors.support import OWNER, TroubledStore


def test_a_deposit_is_stored_answered_and_dispatched_once(customers: Customers) -> None:
    """A command ends as one event, one answer, and one piece of work leased to this process."""
    request = customers.send()
    customers.run()
    reply = answer(request)
    assert isinstance(reply, Accepted)
    assert reply.transaction == customers.transaction(request.command.transaction_id)
    assert reply.transaction.status is Status.PENDING
    assert customers.types() == ["DepositReceived"]
    assert [(item.work_id, item.token) for item in customers.handed_over()] == [(request.command.transaction_id, 1)]
    assert customers.real.work_counts() == {("gatewayA", "leased"): 1}


def test_the_answer_waits_for_the_commit(customers: Customers, store: TroubledStore) -> None:
    """No answer and no work goes out before the commit that holds the event."""
    request = customers.send()
    customers.run_until(lambda: bool(store.batches) or request.reply.done)
    assert store.batches
    assert customers.types() == ["DepositReceived"]
    assert not customers.supervisor.messages


def test_concurrent_commands_share_a_write(customers: Customers, store: TroubledStore) -> None:
    """What arrives while a write is in flight is decided together in the next one, in order of arrival."""
    requests = [customers.send(minor=minor) for minor in range(1, 41)]
    customers.run()
    assert all(isinstance(answer(request), Accepted) for request in requests)
    assert len(store.batches) <= 3
    ids = [request.command.transaction_id for request in requests]
    assert [recorded.event.transaction_id for recorded in customers.events()] == ids  # type: ignore[union-attr]
    assert sorted(item.work_id for item in customers.handed_over()) == sorted(ids)


def test_a_write_is_bounded(customers: Customers, store: TroubledStore) -> None:
    """However many commands wait, one write holds at most BATCH_MAX of them."""
    requests = [customers.send() for _ in range(3 * BATCH_MAX)]
    customers.run()
    assert all(isinstance(answer(request), Accepted) for request in requests)
    assert max(len(write.parts) for batch in store.batches for write in batch) == BATCH_MAX


def test_one_load_serves_many_writes(customers: Customers, store: TroubledStore) -> None:
    """The account stays in memory: only the first command of a customer reads the store."""
    for _ in range(5):
        customers.deposited()
    assert len(store.loads) == 1


def test_a_command_whose_deadline_passed_is_dropped_unwritten(customers: Customers, store: TroubledStore) -> None:
    """A command that waited too long is answered NotStored and never written. The command beside it is stored."""
    late, early = customers.send(deadline_s=1.0), customers.send(deadline_s=100.0)
    customers.runtime.advance(2.0)
    customers.run()
    assert isinstance(answer(late), NotStored)
    assert isinstance(answer(early), Accepted)
    assert [recorded.event.transaction_id for recorded in customers.events()] == [  # type: ignore[union-attr]
        early.command.transaction_id
    ]
    assert len(store.batches) == 1


@pytest.mark.parametrize("waited_s", [0.0, 60.0])
def test_a_command_that_its_caller_gave_up_is_never_written(customers: Customers, waited_s: float) -> None:
    """Once the waiting thread has taken its request, "not stored" stays true, whatever the clock shows."""
    request = customers.send()
    assert request.take()
    customers.runtime.advance(waited_s)
    customers.run(60.0)
    assert customers.types() == []
    assert customers.handed_over() == []
    assert not request.take()


def test_more_commands_than_may_wait_are_refused(customers: Customers, store: TroubledStore) -> None:
    """One customer's queue is bounded: excess commands are answered NotStored at once, and the others are stored."""
    store.inject("load", StoreUnavailableError("away"))
    customers.send()
    customers.run()  # now it waits before it reads the store again
    requests = []
    for _ in range(WAITING_MAX + 100):
        requests.append(customers.send())
        if len(requests) % 500 == 0:
            customers.run()
    customers.run()
    refused = [request for request in requests if request.reply.done]
    assert refused == requests[WAITING_MAX:]
    assert all(isinstance(answer(request), NotStored) for request in refused)
    customers.run(5.0)
    assert all(isinstance(answer(request), Accepted) for request in requests[:WAITING_MAX])
    assert len(customers.events()) == WAITING_MAX


def test_a_conflict_with_another_process_is_decided_again(
    customers: Customers, another_process: Callable[[], Customers], store: TroubledStore
) -> None:
    """Of two writers on one stream the loser loads, decides again and writes again: both commands are stored."""
    other = another_process()
    customers.deposited()
    other.deposited()  # now the first one's memory is stale
    mine, theirs = customers.send(), other.send()
    customers.run()
    assert isinstance(answer(mine), Accepted)
    assert isinstance(answer(theirs), Accepted)
    assert [recorded.version for recorded in customers.events()] == [1, 2, 3, 4]
    assert len({item.work_id for item in (*customers.handed_over(), *other.handed_over())}) == 4
    assert len([*customers.handed_over(), *other.handed_over()]) == 4


def test_a_withdrawal_reserves_and_is_refused_beyond_the_balance(customers: Customers) -> None:
    """A withdrawal that the balance covers is accepted. The next one is not covered: it is refused and not recorded."""
    customers.completed(minor=10_000)
    covered, beyond = customers.withdraw(minor=7_000), customers.withdraw(minor=7_000)
    customers.run()
    assert isinstance(answer(covered), Accepted)
    refused = answer(beyond)
    assert isinstance(refused, Refused)
    assert refused.code == "insufficient-funds"
    assert customers.types().count("WithdrawalReceived") == 1
    view = customers.real.customer(customers.handed_over()[0].stream)
    assert view is not None
    assert [(balance.available, balance.reserved) for _, balance in view.balances] == [(3_000, 7_000)]


def test_a_stale_memory_refuses_no_command(customers: Customers, another_process: Callable[[], Customers]) -> None:
    """A deposit that another process completed meanwhile counts: a refusal is confirmed at the stream's head."""
    customers.deposited(minor=1)  # in memory now, with nothing available
    another_process().completed(minor=10_000)
    withdrawal = customers.withdraw(minor=10_000)
    customers.run()
    assert isinstance(answer(withdrawal), Accepted)


def test_a_refusal_beside_a_write_without_events_is_confirmed_too(
    customers: Customers, another_process: Callable[[], Customers]
) -> None:
    """A write that appends no event does not look at the stream's head, so it cannot prove a refusal."""
    items = [customers.deposited(minor=1), customers.deposited(minor=1)]
    another_process().completed(minor=10_000)
    for item in items:  # each moves its work and appends nothing; the second waits for the first one's write
        customers.report(item, NotSent("connection refused"))
    withdrawal = customers.withdraw(minor=10_000)  # and is decided together with the second
    customers.run()
    assert isinstance(answer(withdrawal), Accepted)


def test_a_true_refusal_is_given_after_one_look_at_the_store(customers: Customers, store: TroubledStore) -> None:
    """A refusal that the store confirms is answered, appends nothing, and leaves the actor at rest."""
    withdrawal = customers.withdraw(minor=1)
    customers.run()
    assert isinstance(answer(withdrawal), Refused)
    assert customers.types() == []
    assert store.batches == []
    assert customers.router.at_rest


def test_a_refusal_that_cannot_be_confirmed_is_not_given(customers: Customers, store: TroubledStore) -> None:
    """When the store does not answer, the reply is "not stored" and never a refusal from memory."""
    customers.deposited(minor=1)
    store.inject("load", StoreUnavailableError("away"))
    withdrawal = customers.withdraw(minor=10_000)
    customers.run(5.0)
    assert isinstance(answer(withdrawal), NotStored)
    assert customers.router.at_rest


def test_new_work_stays_queued_under_backpressure(customers: Customers) -> None:
    """Under backpressure work is left in the store, and announced to whichever process claims it."""
    customers.backpressure.open["gatewayA"] = False
    request = customers.send()
    customers.run()
    assert isinstance(answer(request), Accepted)
    assert customers.handed_over() == []
    transaction_id = request.command.transaction_id
    assert customers.queue.hints == [(transaction_id, transaction_id, "gatewayA")]
    assert customers.real.work_counts() == {("gatewayA", "queued"): 1}


def test_a_process_that_only_accepts_announces_new_work(customers: Customers) -> None:
    """Without processing, new work waits in the store for other processes, which may get a hint of the queue."""
    customers.backpressure.processing = False
    customers.backpressure.open["gatewayA"] = False
    request = customers.send()
    customers.run()
    assert isinstance(answer(request), Accepted)
    assert customers.handed_over() == []
    assert customers.dues() == []
    assert [hint.work_id for hint in customers.queue.hints] == [request.command.transaction_id]


def test_only_unfinished_transactions_are_remembered(customers: Customers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of a customer is bounded: finished transactions are dropped, and the oldest beyond the bound."""
    monkeypatch.setattr("actors.customer.loading.CACHED_MAX", 4)
    customers.completed()
    items = [customers.deposited() for _ in range(6)]
    account = actor_of(customers)._account
    assert account is not None
    assert set(account.transactions) == {item.work_id for item in items[-4:]}
    for item in items:  # those that were dropped are loaded when their outcome arrives
        customers.report(item, Approved("A-" + item.work_id, final=True))
    customers.run()
    assert [customers.transaction(item.work_id).status for item in items] == [Status.COMPLETED] * 6


def test_work_opened_by_a_write_names_its_owner(customers: Customers, store: TroubledStore) -> None:
    """The lease is in the commit that accepts: the work of a new command carries this process as its owner."""
    customers.deposited()
    opened = [change for batch in store.batches for write in batch for part in write.parts for change in part.work]
    assert [change.owner for change in opened if isinstance(change, OpenWork)] == [OWNER]
