"""A customer's actor killed at any kind of message: its successor continues, nothing is lost and nothing doubled."""

from __future__ import annotations

import random

import pytest

from actors.messages import Loaded, Passivate, Retry, Unanswered, Written
from actors.operations.outcome import OutcomeOperation
from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted, NotStored, Reply
from actors.runtime.actor import Future
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Status
from domain.events import Received
from domain.outcomes import Approved
from messaging.port import WorkHint
from store.errors import StoreUnavailableError, UnstorableError
from tests.actors.customer.fault_injection import Fatal
from tests.actors.customer.fixtures import Customers, actor_of, answer
from tests.actors.support import GATEWAY, Trouble, TroubledStore, stream

AWAY = StoreUnavailableError("away")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [ReceiveOperation, OutcomeOperation, Loaded, Written, Retry])
def test_a_death_at_any_message_loses_nothing_and_doubles_nothing(
    customers: Customers, store: TroubledStore, *, kind: type, after: bool, times: int
) -> None:
    """Whichever message the actor dies of, each command ends as one event, one Accepted and one dispatch."""
    item = customers.deposited()
    customers.router.start(stream())
    fatal = Fatal(customers, kind, after=after, times=times)
    _replace_actor(customers)
    if kind is Retry:
        store.inject("load", AWAY)
    customers.report(item, Approved("A-1", final=True))
    requests = [customers.send() for _ in range(5)]
    customers.run(5.0)
    assert fatal.left == 0
    assert customers.router.deaths == times
    again = [request for request in requests if isinstance(answer(request), NotStored)]
    assert not again or kind is Retry
    stored = [request.command.transaction_id for request in requests if request not in again]
    received = [it.event.transaction_id for it in customers.events() if isinstance(it.event, Received)]
    assert sorted(received) == sorted([item.work_id, *stored])
    assert sorted(it.work_id for it in customers.handed_over()) == sorted([item.work_id, *stored])
    assert customers.transaction(item.work_id).status is Status.COMPLETED
    assert customers.router.at_rest


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_death_during_the_dispatch_neither_loses_nor_doubles_it(customers: Customers, nth: int) -> None:
    """When dispatching the nth piece of work of a write kills the actor, each is dispatched once."""
    customers.deposited()
    first = customers.send()
    customers.run_until(lambda: not actor_of(customers).at_rest)  # in flight: the others share the next write
    requests = [first, *[customers.send() for _ in range(3)]]
    tell, reported = customers.supervisor.tell, []

    def deadly(message: object) -> None:
        reported.append(message)
        if len(reported) == nth + 1:
            raise RuntimeError("no")
        tell(message)

    customers.supervisor.tell = deadly  # type: ignore[method-assign]
    customers.run(5.0)
    assert customers.router.deaths == 1
    assert [type(answer(request)) for request in requests] == [Accepted] * 4
    ids = [item.work_id for item in customers.handed_over()[1:]]
    assert sorted(ids) == sorted(request.command.transaction_id for request in requests)


class _Deadly(Future[Reply]):
    """A reply whose first ``set`` kills the actor."""

    def __init__(self) -> None:
        super().__init__()
        self.deaths_left = 1

    def set(self, value: Reply | None = None) -> None:
        self.deaths_left -= 1
        if self.deaths_left == 0:
            raise RuntimeError("no")
        super().set(value)


def test_a_death_between_the_dispatch_and_the_answer_doubles_nothing(customers: Customers) -> None:
    """The supervisor has the work already: the successor sends the answer and nothing else."""
    before = customers.deposited()
    request = customers.send()
    request.reply = _Deadly()
    customers.run(5.0)
    assert customers.router.deaths == 1
    assert isinstance(answer(request), Accepted)
    assert [item.work_id for item in customers.handed_over()] == [before.work_id, request.command.transaction_id]


def test_a_command_on_record_is_not_received_again_after_a_death(customers: Customers) -> None:
    """A successor looks up each command that may be on record, also when another process has finished it meanwhile."""
    customers.deposited()
    customers.backpressure.open[GATEWAY] = False
    first = customers.send()
    customers.run_until(lambda: not actor_of(customers).at_rest)  # in flight: the others share the next write
    requests = [first, *[customers.send() for _ in range(3)]]
    announce, announced = customers.queue.announce, []

    def deadly(hint: WorkHint, /) -> None:
        announced.append(hint)
        if len(announced) == 2:
            raise RuntimeError("no")
        announce(hint)

    customers.queue.announce = deadly  # type: ignore[method-assign]
    customers.run_until(lambda: customers.router.deaths == 1)
    elsewhere = SimulatedRuntime(random.Random(1), started_at=customers.runtime.monotonic())
    process = Customers(elsewhere, customers.real, customers.real, owner="owner-2")
    for item in customers.real.claim_work("owner-2", GATEWAY, 10):
        process.report(item, Approved(f"A-{item.work_id}", final=True))
    process.run()
    customers.run(5.0)
    assert [type(answer(request)) for request in requests] == [Accepted] * 4
    assert customers.types().count("DepositReceived") == 1 + 4
    assert customers.real.work_counts() == {(GATEWAY, "leased"): 1}


def _replace_actor(customers: Customers) -> None:
    """Replace the customer's actor by one that the present factory makes."""
    customers.router.tell(stream(), Passivate())
    customers.run()
    assert len(customers.router) == 0


def test_a_message_that_killed_actors_too_often_is_given_up_with_an_answer(customers: Customers) -> None:
    """A command that kills every actor that receives it is answered in the end, and the next command is served."""
    customers.deposited()
    bad = customers.send(details={"order": "\ud800"})
    customers.run(5.0)
    assert bad.reply.done
    customers.deposited()
    assert len(customers.events()) == 2


def test_the_successor_of_a_dead_journal_answers(customers: Customers, store: TroubledStore) -> None:
    """When the journal is killed in a commit, its successor answers, and the command is stored once."""
    customers.deposited()
    store.inject("append", Trouble(SystemExit(), after=True))
    request = customers.send()
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert len(customers.events()) == 2
    assert customers.journal.deaths == 1


def test_answers_to_a_dead_actor_are_ignored(customers: Customers) -> None:
    """The successor ignores a late answer to a load or an append of its predecessor."""
    customers.router.tell(stream(), Written(998, Unanswered(UnstorableError("no"), uncertain=False)))
    customers.router.tell(stream(), Loaded(999, AWAY))
    customers.run()
    customers.deposited()
    assert customers.router.deaths == 0


def test_an_idle_actor_stops_and_a_later_message_wakes_another(customers: Customers, store: TroubledStore) -> None:
    """Passivation keeps nothing in memory, and costs the next command one load."""
    customers.deposited()
    _replace_actor(customers)
    customers.deposited()
    assert len(store.loads) == 2
    assert customers.types() == ["DepositReceived"] * 2


def test_an_actor_with_something_to_do_is_not_stopped(customers: Customers) -> None:
    """An actor that awaits an answer, or has something waiting, does not stop for being idle."""
    request = customers.send()
    customers.router.tell(stream(), Passivate())
    customers.run()
    assert isinstance(answer(request), Accepted)
    assert len(customers.router) == 1
