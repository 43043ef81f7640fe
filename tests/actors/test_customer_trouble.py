"""A customer's actor when the store fails or the actor dies: nothing lost, nothing twice, no answer a guess."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from actors.customer import CustomerStreamActor
from actors.messages import Loaded, OutcomeReport, Passivate, ReceiveRequest, Retry, Unanswered, Written
from actors.replies import Accepted, NotStored
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Refused, Status
from domain.events import Received
from domain.outcomes import Approved
from store.errors import CommitUncertainError, StoreUnavailableError, UnstorableError
from store.port import AppendResult, Store, Write
from tests.actors.customers import DEADLINE_S, Customers, actor_of, answer
from tests.actors.support import GATEWAY, Trouble, TroubledStore, stream

AWAY = StoreUnavailableError("away")
UNCERTAIN = CommitUncertainError("cut")


def test_a_store_that_is_away_refuses_at_once_and_serves_again(customers: Customers, store: TroubledStore) -> None:
    """While the store is away commands are answered NotStored without waiting for their deadline; then it goes on."""
    store.befall("load", AWAY)
    at_load = customers.send()
    customers.run(0.1)
    assert isinstance(answer(at_load), NotStored)
    customers.run(1.0)
    customers.deposited()
    store.befall("append", AWAY)
    at_append = customers.send()
    customers.run(0.1)
    assert isinstance(answer(at_append), NotStored)
    customers.run(1.0)
    customers.deposited()
    assert customers.types() == ["DepositReceived"] * 2


def test_a_load_that_fails_unexpectedly_wedges_nobody(customers: Customers, store: TroubledStore) -> None:
    """Whatever a load raises, the actor gets an answer and goes on with the next command."""
    store.befall("load", KeyError("a defect"))
    customers.send()
    customers.run(1.0)
    customers.deposited()
    assert customers.router.at_rest


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("again", [UNCERTAIN, AWAY])
def test_an_uncertain_commit_is_settled_before_anybody_is_answered(
    customers: Customers, store: TroubledStore, *, stored: bool, again: Exception
) -> None:
    """After a commit that nobody knows the end of, the record decides: one event, one answer, one hand-over."""
    customers.deposited()
    store.befall("append", Trouble(UNCERTAIN, after=stored), again)
    request = customers.send()
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert customers.types() == ["DepositReceived"] * 2
    assert len(customers.handed_over()) == 2


class _Slow(TroubledStore):
    """A store whose connection was cut while it committed: the commit is under way still, and lands when told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.cut = self.away = False
        self._under_way: list[Sequence[Write]] = []

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store."""
        if self.cut and not self.away:
            self._under_way.append(writes)
            self.away = True
            raise UNCERTAIN
        if self.away:
            raise AWAY
        return super().append(writes)

    def land(self) -> None:
        """What was cut gets to its end."""
        for writes in self._under_way:
            super().append(writes)
        self.cut = self.away = False


def test_no_answer_is_a_guess_while_a_commit_may_still_land(customers: Customers) -> None:
    """That a read does not see it proves nothing: "not stored" must not be said of a commit that may land later."""
    slow = _Slow(customers.real)
    process = Customers(customers.runtime, slow, customers.real, owner="owner-3")
    process.deposited()
    slow.cut = True
    request = process.send()
    process.run(DEADLINE_S + 5.0)
    not_stored = request.reply.done and isinstance(answer(request), NotStored)
    slow.land()
    process.run(5.0)
    assert len(process.events()) == 2
    assert not not_stored
    assert request.command.transaction_id in [item.work_id for item in process.handed_over()]


def test_work_that_an_uncertain_commit_leased_is_handed_over_although_the_intake_closed(
    customers: Customers, store: TroubledStore
) -> None:
    """What the store leased to this process is handed over here, whatever the intake says by the time it is known."""
    customers.deposited()
    store.befall("append", Trouble(UNCERTAIN, after=True), UNCERTAIN)
    request = customers.send()
    customers.run_until(lambda: store.troubles_left == 0)
    customers.intake.open[GATEWAY] = False
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert customers.real.work_counts() == {(GATEWAY, "leased"): 2}
    assert request.command.transaction_id in [item.work_id for item in customers.handed_over()]


def test_work_that_an_uncertain_commit_queued_is_not_handed_over_although_the_intake_opened(
    customers: Customers, store: TroubledStore
) -> None:
    """What the store keeps queued for anybody is not sent from here as well."""
    customers.deposited()
    customers.intake.open[GATEWAY] = False
    store.befall("append", Trouble(UNCERTAIN, after=True), UNCERTAIN)
    request = customers.send()
    customers.run_until(lambda: store.troubles_left == 0)
    customers.intake.open[GATEWAY] = True
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert customers.real.work_counts() == {(GATEWAY, "leased"): 1, (GATEWAY, "queued"): 1}
    assert request.command.transaction_id not in [item.work_id for item in customers.handed_over()]


def test_a_write_that_the_database_refuses_fails_alone(customers: Customers, store: TroubledStore) -> None:
    """Of commands written together, the one that cannot be stored is never called accepted, the others are stored."""
    customers.deposited()
    first = customers.send()  # in flight, so that the next ones share a write
    good, bad = customers.send(), customers.send(details={"order": "\ud800"})
    customers.run(30.0)
    assert isinstance(answer(first), Accepted)
    assert isinstance(answer(good), Accepted)
    assert not isinstance(answer(bad), Accepted | Refused)
    assert len(customers.events()) == 3
    assert customers.router.at_rest


def test_a_report_whose_write_always_breaks_the_store_bricks_no_customer(
    customers: Customers, store: TroubledStore
) -> None:
    """One outcome that meets a defect of the store at every attempt must not keep the customer's others from it."""
    poisoned = customers.deposited()

    real_append = store.append

    def append(writes: Sequence[Write]) -> list[AppendResult]:
        if any(b"poison" in event.body for write in writes for part in write.parts for event in part.events):
            raise RuntimeError("a defect that these data meet")
        return real_append(writes)

    store.append = append  # type: ignore[method-assign]
    customers.report(poisoned, Approved("poison", final=True))
    customers.run(0.2)
    requests = [customers.send() for _ in range(3)]
    customers.run(60.0)
    assert [type(answer(request)) for request in requests] == [Accepted] * 3


# deaths


class _Fatal:
    """Makes the customer's actor die at the ``nth`` message of a kind, before or after it has handled it."""

    def __init__(self, customers: Customers, kind: type, *, after: bool, times: int = 1) -> None:
        self.left = times
        make = customers.router._make

        def made(key: Any) -> CustomerStreamActor:
            actor = make(key)
            assert isinstance(actor, CustomerStreamActor)
            receive = actor.receive

            def dying(message: Any) -> None:
                if not isinstance(message, kind) or self.left == 0:
                    receive(message)
                    return
                self.left -= 1
                if after:
                    receive(message)
                raise RuntimeError(f"dies at {kind.__name__}")

            actor.receive = dying  # type: ignore[method-assign]
            return actor

        customers.router._make = made


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [ReceiveRequest, OutcomeReport, Loaded, Written, Retry])
def test_a_death_at_any_message_loses_nothing_and_doubles_nothing(
    customers: Customers, store: TroubledStore, *, kind: type, after: bool, times: int
) -> None:
    """Whichever message the actor dies of, each command ends as one event, one Accepted and one hand-over."""
    item = customers.deposited()
    customers.router.start(stream())
    fatal = _Fatal(customers, kind, after=after, times=times)
    _replace_actor(customers)
    if kind is Retry:
        store.befall("load", AWAY)
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
def test_a_death_amid_the_hand_over_neither_loses_nor_doubles_it(customers: Customers, nth: int) -> None:
    """When handing over the nth piece of work of a write kills the actor, each is handed over once all the same."""
    customers.deposited()
    first = customers.send()
    customers.run_until(lambda: not actor_of(customers).at_rest)  # in flight: the others share the next write
    requests = [first, *[customers.send() for _ in range(3)]]
    tell, told = customers.supervisor.tell, []

    def deadly(message: object) -> None:
        told.append(message)
        if len(told) == nth + 1:
            raise RuntimeError("no")
        tell(message)

    customers.supervisor.tell = deadly  # type: ignore[method-assign]
    customers.run(5.0)
    assert customers.router.deaths == 1
    assert [type(answer(request)) for request in requests] == [Accepted] * 4
    ids = [item.work_id for item in customers.handed_over()[1:]]
    assert sorted(ids) == sorted(request.command.transaction_id for request in requests)


def test_a_command_on_record_is_not_received_again_after_a_death(customers: Customers) -> None:
    """A successor looks up each command that may be on record, also when another process has finished it meanwhile."""
    customers.deposited()
    customers.intake.open[GATEWAY] = False
    first = customers.send()
    customers.run_until(lambda: not actor_of(customers).at_rest)  # in flight: the others share the next write
    requests = [first, *[customers.send() for _ in range(3)]]
    tell, told = customers.dead_letters.tell, []

    def deadly(message: object) -> None:
        told.append(message)
        if len(told) == 2:
            raise RuntimeError("no")
        tell(message)

    customers.dead_letters.tell = deadly  # type: ignore[method-assign]
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
    """Have the customer's actor made anew, by whatever makes them now."""
    customers.router.tell(stream(), Passivate())
    customers.run()
    assert len(customers.router) == 0


def test_a_message_that_killed_actors_too_often_is_given_up_with_an_answer(customers: Customers) -> None:
    """A command that kills every actor it comes to is answered in the end, and the next one is served."""
    customers.deposited()
    bad = customers.send(details={"order": "\ud800"})
    customers.run(5.0)
    assert bad.reply.done
    customers.deposited()
    assert len(customers.events()) == 2


def test_a_journal_that_dies_is_not_waited_for_in_vain(customers: Customers, store: TroubledStore) -> None:
    """When the journal is killed in a commit, its successor answers, and the command is stored once."""
    customers.deposited()
    store.befall("append", Trouble(SystemExit(), after=True))
    request = customers.send()
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert len(customers.events()) == 2
    assert customers.journal.deaths == 1


def test_answers_to_an_actor_that_is_gone_disturb_nobody(customers: Customers) -> None:
    """A late answer to a load or an append of a predecessor is none of the successor's business."""
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
