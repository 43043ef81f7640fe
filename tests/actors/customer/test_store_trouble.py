"""A customer's actor when the store fails or the actor dies: nothing is lost or doubled, and no answer is a guess."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from actors.replies import Accepted, NotStored
from domain.account import Refused
from domain.outcomes import Approved
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import AppendResult, Store, Write
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.support import GATEWAY, Trouble, TroubledStore

AWAY = StoreUnavailableError("away")
UNCERTAIN = CommitUncertainError("cut")


def test_a_store_that_is_away_refuses_at_once_and_serves_again(customers: Customers, store: TroubledStore) -> None:
    """While the store is away, commands are answered NotStored before their deadline; later the actor serves again."""
    store.inject("load", AWAY)
    at_load = customers.send()
    customers.run(0.1)
    assert isinstance(answer(at_load), NotStored)
    customers.run(1.0)
    customers.deposited()
    store.inject("append", AWAY)
    at_append = customers.send()
    customers.run(0.1)
    assert isinstance(answer(at_append), NotStored)
    customers.run(1.0)
    customers.deposited()
    assert customers.types() == ["DepositReceived"] * 2


@pytest.mark.parametrize("error", [KeyError("a defect"), MemoryError(), SystemExit(), GeneratorExit()])
def test_a_load_that_fails_unexpectedly_blocks_no_command(
    customers: Customers, store: TroubledStore, error: BaseException
) -> None:
    """Whatever a load raises, the actor receives it as an answer and continues with the next command."""
    store.inject("load", error)
    request = customers.send()
    customers.run(1.0)
    assert isinstance(answer(request), NotStored)
    customers.deposited()
    assert customers.router.at_rest


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("again", [UNCERTAIN, AWAY])
def test_an_uncertain_commit_is_settled_before_any_answer(
    customers: Customers, store: TroubledStore, *, stored: bool, again: Exception
) -> None:
    """After an uncertain commit the record decides: one event, one answer, one dispatch of the work."""
    customers.deposited()
    store.inject("append", Trouble(UNCERTAIN, after=stored), again)
    request = customers.send()
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert customers.types() == ["DepositReceived"] * 2
    assert len(customers.handed_over()) == 2


class _Slow(TroubledStore):
    """A store whose connection was cut while it committed: the commit is still under way, and lands on demand."""

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
        """Complete the commit whose connection was cut."""
        for writes in self._under_way:
            super().append(writes)
        self.cut = self.away = False


def test_no_answer_is_a_guess_while_a_commit_may_still_land(customers: Customers) -> None:
    """A read that does not see it proves nothing: a commit that may land later is never answered "not stored"."""
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


def test_leased_work_of_an_uncertain_commit_is_dispatched_despite_backpressure(
    customers: Customers, store: TroubledStore
) -> None:
    """Work that the store leased to this process is dispatched here, even under backpressure."""
    customers.deposited()
    store.inject("append", Trouble(UNCERTAIN, after=True), UNCERTAIN)
    request = customers.send()
    customers.run_until(lambda: store.troubles_left == 0)
    customers.backpressure.open[GATEWAY] = False
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert customers.real.work_counts() == {(GATEWAY, "leased"): 2}
    assert request.command.transaction_id in [item.work_id for item in customers.handed_over()]


def test_queued_work_of_an_uncertain_commit_is_not_dispatched_here(customers: Customers, store: TroubledStore) -> None:
    """Work that the store keeps queued for any process is not dispatched here as well."""
    customers.deposited()
    customers.backpressure.open[GATEWAY] = False
    store.inject("append", Trouble(UNCERTAIN, after=True), UNCERTAIN)
    request = customers.send()
    customers.run_until(lambda: store.troubles_left == 0)
    customers.backpressure.open[GATEWAY] = True
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert customers.real.work_counts() == {(GATEWAY, "leased"): 1, (GATEWAY, "queued"): 1}
    assert request.command.transaction_id not in [item.work_id for item in customers.handed_over()]


def test_a_write_that_the_database_refuses_fails_alone(customers: Customers, store: TroubledStore) -> None:
    """Of commands written together, the one that cannot be stored is never accepted; the others are stored."""
    customers.deposited()
    first = customers.send()  # in flight, so that the next ones share a write
    good, bad = customers.send(), customers.send(details={"order": "\ud800"})
    customers.run(30.0)
    assert isinstance(answer(first), Accepted)
    assert isinstance(answer(good), Accepted)
    assert not isinstance(answer(bad), Accepted | Refused)
    assert len(customers.events()) == 3
    assert customers.router.at_rest


def test_a_report_whose_write_always_breaks_the_store_blocks_no_customer(
    customers: Customers, store: TroubledStore
) -> None:
    """One outcome that meets a defect of the store at every attempt must not block the customer's others."""
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
