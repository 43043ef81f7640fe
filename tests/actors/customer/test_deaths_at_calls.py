"""A customer's actor dies once at each call that it makes: nothing is lost and nothing doubled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actors.messages import Passivate
from actors.replies import Accepted, NotStored
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Status
from domain.events import Received
from domain.outcomes import Approved
from store.errors import CommitUncertainError
from store.sqlite.adapter import SqliteStore
from tests.actors.customer.fixtures import Customers, answer
from tests.actors.support import GATEWAY, Trouble, TroubledStore, stream

CALLS_MAX = 200


class Countdown:
    """Counts the calls that actors make. The call at which the count ends is not made and kills its caller."""

    def __init__(self) -> None:
        self.left = 0

    def count(self) -> None:
        """One call is about to be made."""
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("killed at a call")


class Watched:
    """A stand-in for ``target`` whose methods count down."""

    def __init__(self, target: Any, countdown: Countdown) -> None:
        self._target, self._countdown = target, countdown

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return self._watched(found) if callable(found) else found

    def __call__(self, *arguments: Any) -> Any:
        """The target is a function itself."""
        return self._watched(self._target)(*arguments)

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._countdown.count()
            return function(*arguments)

        return call


def watched(customers: Customers) -> Countdown:
    """Make everything that the customers' actors call count down."""
    countdown = Countdown()
    actors = ("journal", "supervisor", "scheduler", "dead_letters", "queue")
    parts = ("runtime", "loader", *actors, "listener", "next_serial")
    stand_ins: dict[str, Any] = {part: Watched(getattr(customers.context, part), countdown) for part in parts}
    customers.context = replace(customers.context, **stand_ins)
    return countdown


@pytest.mark.parametrize("open_intake", [True, False])
@pytest.mark.parametrize("uncertain", [None, False, True])
def test_a_death_at_any_call_loses_nothing_and_doubles_nothing(
    runtime: SimulatedRuntime, real_store: SqliteStore, *, open_intake: bool, uncertain: bool | None
) -> None:
    """Commands, an outcome, a refusal, perhaps an uncertain commit: whichever call kills, each result is correct."""
    store = TroubledStore(real_store)
    customers = Customers(runtime, store, real_store)
    customers.backpressure.open[GATEWAY] = True
    for nth in range(1, CALLS_MAX):
        customer = f"c{nth}"
        item = customers.deposited(customer)
        customers.supervisor.messages.clear()
        customers.queue.hints.clear()
        customers.backpressure.open[GATEWAY] = open_intake
        countdown = watched(customers)
        _forget(customers, customer)
        countdown.left = nth
        if uncertain is not None:
            store.inject("append", Trouble(CommitUncertainError("cut"), after=uncertain), CommitUncertainError("cut"))
        requests = [customers.send(customer) for _ in range(2)]
        customers.report(item, Approved(f"A-{nth}", final=True), customer)
        requests += [customers.send(customer) for _ in range(3)]
        beyond = customers.withdraw(customer, 10**9)
        customers.run(30.0)
        made_all = countdown.left > 0
        countdown.left = 0
        store._trouble.clear()
        customers.backpressure.open[GATEWAY] = True

        stored = [it.command.transaction_id for it in requests if isinstance(answer(it), Accepted)]
        refused = [it for it in requests if isinstance(answer(it), NotStored)]
        assert len(stored) + len(refused) == 5, f"call {nth}"
        received = [it.event.transaction_id for it in customers.events(customer) if isinstance(it.event, Received)]
        assert sorted(received) == sorted([item.work_id, *stored]), f"call {nth}"
        assert sorted(it.work_id for it in customers.handed_over()) == (sorted(stored) if open_intake else [])
        assert customers.transaction(item.work_id).status is Status.COMPLETED, f"call {nth}"
        assert beyond.reply.done
        assert customers.router.at_rest
        if made_all:
            assert nth > 20, "too few calls were made for a meaningful test"
            return
    raise AssertionError("the calls never end")


def _forget(customers: Customers, customer: str) -> None:
    """Stop the customer's actor, so that one with the watched context takes its place."""
    customers.router.tell(stream(customer), Passivate())
    customers.run()
