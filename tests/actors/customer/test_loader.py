"""Loads in batches: which customers share a query, and what each of them gets when something fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import apsw
import pytest
from pykka import ActorDeadError

from actors.customer.loader import BATCH_MAX, SLOW_S, TRANSACTIONS_MAX, Loader, LoadRequest
from actors.messages import Loaded
from actors.runtime.dispatchers import GrowingExecutor
from store.errors import CorruptStoreError, StoreUnavailableError
from store.port import Lease, Load, Snapshot, Store, StreamKey
from store.sqlite.adapter import SqliteStore
from tests.actors.support import OWNER, Inbox, TroubledStore, stream
from tests.store.builders import Customer

AWAY = StoreUnavailableError("away")


class Jobs:
    """An executor whose jobs the test runs."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.error: Exception | None = None

    def submit(self, function: Callable[[], None], /) -> None:
        """Keep ``function``, or raise the error."""
        if self.error is not None:
            raise self.error
        self.jobs.append(function)

    def run(self) -> None:
        """Run the oldest job."""
        self.jobs.pop(0)()


class Clock:
    """A monotonic clock that the test advances."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Place:
    """A loader on a store with the customers c0, c1, …, each with one deposit."""

    def __init__(self, real: SqliteStore, store: TroubledStore | None = None, at_once: int = 2) -> None:
        real.register_owner(OWNER)
        customers = [Customer(f"c{number}") for number in range(100)]
        real.append([one.deposit(f"t-{one.stream.id}", owner=OWNER) for one in customers])
        self.store = TroubledStore(real) if store is None else store
        self.jobs, self.clock, self.inbox = Jobs(), Clock(), Inbox()
        self.loader = Loader(self.store, self.jobs, self.clock, at_once=at_once)

    def ask(self, *numbers: int, work_ids: Sequence[str] = ()) -> None:
        """Request the loads of these customers; the number is the serial."""
        for number in numbers:
            load = Load(stream(f"c{number}"), (f"t-c{number}",))
            self.loader.submit(LoadRequest(load, work_ids, number, self.inbox))

    def answers(self) -> dict[int, Snapshot | BaseException]:
        """The results by serial, each of which arrived once."""
        loaded = self.inbox.of(Loaded)
        assert len({it.serial for it in loaded}) == len(loaded)
        return {it.serial: it.result for it in loaded}

    def versions(self) -> dict[int, int]:
        """The loaded versions by serial. Every load has succeeded, with the customer's own transaction."""
        found = {}
        for serial, result in self.answers().items():
            assert isinstance(result, Snapshot)
            assert list(result.account.transactions) == [f"t-c{serial}"]
            found[serial] = result.head.version
        return found


@pytest.fixture
def place(real_store: SqliteStore) -> Place:
    """A loader with at most two batches at once."""
    return Place(real_store)


def test_all_that_wait_share_one_query(place: Place) -> None:
    """The first request starts a thread, those that follow are read with it, and each gets its own customer."""
    place.ask(0, 1, 2)
    assert len(place.jobs.jobs) == 1
    place.jobs.run()
    assert place.store.load_sizes == [3]
    assert place.versions() == {0: 1, 1: 1, 2: 1}
    place.ask(3)
    place.jobs.run()
    assert place.store.load_sizes == [3], "one customer needs no batch"
    assert set(place.versions()) == {0, 1, 2, 3}


def test_a_batch_is_bounded(place: Place) -> None:
    """More than BATCH_MAX customers take several queries, by one thread, in the order in which they came."""
    place.ask(*range(BATCH_MAX + 5))
    place.jobs.run()
    assert place.store.load_sizes == [BATCH_MAX, 5]
    assert [*place.versions()] == [*range(BATCH_MAX + 5)]
    assert place.jobs.jobs == []


def test_a_customer_that_cannot_be_read_fails_alone(place: Place, tmp_path: Path) -> None:
    """Its damaged row makes the batch fail. Then each customer is read alone, and the others are loaded."""
    connection = apsw.Connection(str(tmp_path / "payments.db"))
    connection.execute(
        "UPDATE transactions SET status = 'failed', failure_code = 'x', failure_category = 'odd'"
        " WHERE transaction_id = 't-c1'"
    )
    connection.close()
    place.ask(0, 1, 2)
    place.jobs.run()
    assert isinstance(place.answers()[1], CorruptStoreError)
    place.inbox.messages = [it for it in place.inbox.messages if it.serial != 1]
    assert place.versions() == {0: 1, 2: 1}


@pytest.mark.parametrize("error", [RuntimeError("a defect"), CorruptStoreError("odd"), MemoryError(), SystemExit()])
def test_a_batch_that_fails_once_is_read_one_by_one(place: Place, error: BaseException) -> None:
    """Whatever the error of the batch, every customer is loaded."""
    place.store.inject("load_many", error)
    place.ask(0, 1, 2)
    place.jobs.run()
    assert place.versions() == {0: 1, 1: 1, 2: 1}


def test_a_store_that_is_away_is_asked_a_few_times(place: Place) -> None:
    """All customers of the batch get the error. Asking for each alone would multiply the time that it takes."""
    place.store.inject("load_many", AWAY)
    place.store.inject("load", AWAY, AWAY)
    place.ask(*range(10))
    place.jobs.run()
    assert place.answers() == dict.fromkeys(range(10), AWAY)
    assert len(place.store.loads) == 2
    place.inbox.messages.clear()
    place.ask(0, 1, 2)
    place.jobs.run()
    assert place.versions() == {0: 1, 1: 1, 2: 1}


def test_a_store_that_does_not_answer_in_time_is_asked_once(real_store: SqliteStore) -> None:
    """A query that failed after a long wait is not repeated for each customer."""
    hanging = Hanging(real_store)
    place = Place(real_store, hanging)

    def wait() -> None:
        place.clock.now += 2 * SLOW_S

    hanging.meanwhile.append(wait)
    hanging.inject("load_many", AWAY)
    place.ask(0, 1, 2)
    place.jobs.run()
    assert place.answers() == {0: AWAY, 1: AWAY, 2: AWAY}
    assert hanging.loads == []


@pytest.mark.parametrize("poison", [{0}, {1}, {3}, {0, 2}, {1, 3}])
def test_a_customer_for_which_the_server_fails_fails_alone(place: Place, poison: set[int]) -> None:
    """A damaged page may look like a store that is away, at once and every time that this customer is read."""
    place.store.inject("load_many", AWAY)
    place.store.inject("load", *[AWAY if number in poison else None for number in range(4)])
    place.ask(*range(4))
    place.jobs.run()
    assert {serial for serial, result in place.answers().items() if result is AWAY} == poison
    assert sum(isinstance(result, Snapshot) for result in place.answers().values()) == 4 - len(poison)


def test_a_batch_has_a_bounded_number_of_transactions(place: Place) -> None:
    """Customers with many transactions share a query with fewer others; one customer may have any number."""
    many = tuple(f"none-{number}" for number in range(TRANSACTIONS_MAX))
    for serial, wanted in enumerate([(), many, ("t-c2",), (*many, "t-c3"), ("t-c4",), ("t-c5",)]):
        place.loader.submit(LoadRequest(Load(stream(f"c{serial}"), wanted), (), serial, place.inbox))
    place.jobs.run()
    assert place.store.load_sizes == [2, 2], "the third and the fourth were alone"
    assert [*place.answers()] == [*range(6)]
    assert all(isinstance(result, Snapshot) for result in place.answers().values())


def test_leases_come_with_the_customer(place: Place) -> None:
    """A request names work whose leases it needs. A lease that cannot be read fails that customer alone."""
    place.ask(0)
    place.ask(1, work_ids=["t-c1", "none"])
    place.store.inject("lease", None, None, AWAY)
    place.ask(2, work_ids=["t-c2"])
    place.ask(3)
    place.jobs.run()
    assert [it.leases for it in place.inbox.of(Loaded)] == [{}, {"t-c1": Lease(1, OWNER), "none": None}, {}, {}]
    assert place.answers()[2] is AWAY
    assert isinstance(place.answers()[3], Snapshot)


def test_an_actor_that_has_ended_concerns_no_other(place: Place) -> None:
    """Its successor loads for itself; the rest of the batch is answered."""

    class Dead(Inbox):
        def tell(self, message: object, /) -> None:
            raise ActorDeadError(str(message))

    place.ask(0)
    place.loader.submit(LoadRequest(Load(stream("c1")), (), 1, Dead()))
    place.ask(2)
    place.jobs.run()
    assert place.versions() == {0: 1, 2: 1}


class Hanging(TroubledStore):
    """A store that does something else in the middle of the next loads."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.meanwhile: list[Callable[[], None]] = []

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See Store."""
        self._hang()
        return super().load(stream, transaction_ids)

    def load_many(self, loads: Sequence[Load]) -> list[Snapshot]:
        """See Store."""
        self._hang()
        return super().load_many(loads)

    def _hang(self) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()


def test_a_slow_batch_does_not_delay_those_that_arrive_later(real_store: SqliteStore) -> None:
    """Within SLOW_S they wait for the next batch. After it they get a thread of their own, up to ``at_once``."""
    hanging = Hanging(real_store)
    place = Place(real_store, hanging)
    threads: list[int] = []
    loaded: list[set[int]] = []

    def ask(number: int) -> None:
        place.ask(number)
        threads.append(len(place.jobs.jobs))

    def while_the_first_hangs() -> None:
        ask(1)
        place.clock.now += SLOW_S
        ask(2)
        hanging.meanwhile.append(while_both_hang)
        place.jobs.run()
        loaded.append(set(place.answers()))
        ask(3)
        place.jobs.run()
        loaded.append(set(place.answers()))

    def while_both_hang() -> None:
        place.clock.now += SLOW_S
        ask(4)

    hanging.meanwhile.append(while_the_first_hangs)
    place.ask(0)
    place.jobs.run()
    assert threads == [0, 1, 0, 1], "1 waits, 2 gets a thread, 4 would be the third at once, 3 gets one again"
    assert loaded == [{1, 2, 4}, {1, 2, 3, 4}]
    assert set(place.versions()) == {0, 1, 2, 3, 4}


def test_without_a_thread_the_customers_get_the_error(place: Place) -> None:
    """They try again later, and a thread that starts then serves them."""
    place.jobs.error = RuntimeError("can't start new thread")
    place.ask(0, 1)
    assert place.answers() == {0: place.jobs.error, 1: place.jobs.error}
    place.jobs.error = None
    place.inbox.messages.clear()
    place.ask(0, 1)
    place.jobs.run()
    assert place.versions() == {0: 1, 1: 1}


def test_without_an_executor_the_caller_loads(real_store: SqliteStore) -> None:
    """A load that takes less time than a hand-over to a thread runs at once."""
    place = Place(real_store)
    place.loader = Loader(place.store, None, place.clock)
    place.ask(0, 1)
    assert place.versions() == {0: 1, 1: 1}
    assert place.store.load_sizes == []


def test_real_threads_answer_every_load_once(real_store: SqliteStore) -> None:
    """Many threads request loads while several batches run: none is lost, and none is answered twice."""
    place = Place(real_store)
    executor = GrowingExecutor("loader", 3)
    place.loader = Loader(place.store, executor, lambda: 0.0, at_once=3)

    def ask(first: int) -> None:
        for number in range(first, 96, 8):
            place.ask(number)

    askers = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert executor.stop(10.0)
    assert set(place.versions()) == set(range(96))
