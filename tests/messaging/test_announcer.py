"""The announcer tells the processors which work is due, once each, from one process at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Final

import pytest

from messaging.announcer import (
    ANNOUNCER_OF_WORK,
    DUE_MAX,
    POLL_S,
    REPEAT_S,
    RETRY_MAX_S,
    STANDBY_S,
    AnnouncerState,
    WorkAnnouncer,
    WorkSource,
)
from messaging.port import HintHandler, WorkHint
from messaging.relay_thread import RelayThread
from store.backend import PaymentStore
from store.errors import StoreUnavailableError
from tests.messaging.test_relay_thread import until
from tests.store.builders import OWNER, Customer

LEASE_S: Final = 15.0


class Queue:
    """A queue that records its hints."""

    def __init__(self) -> None:
        self.hints: list[WorkHint] = []
        self.closed = 0

    def announce(self, hint: WorkHint, /) -> None:
        """See WorkQueue."""
        self.hints.append(hint)

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """See WorkQueue."""

    def close(self) -> None:
        """See WorkQueue."""
        self.closed += 1

    @property
    def ids(self) -> list[str]:
        """The work of the hints since the last look, ascending."""
        ids = sorted(hint.work_id for hint in self.hints)
        self.hints.clear()
        return ids


class Failing:
    """A store that does not answer while it ``fails``."""

    def __init__(self, store: PaymentStore) -> None:
        self.store = store
        self.fails: Exception | None = None

    def __getattr__(self, name: str) -> Callable[..., object]:
        """The method of the store."""
        if self.fails is not None:
            raise self.fails
        method: Callable[..., object] = getattr(self.store, name)
        return method


class Scenario:
    """Announcers of several processes on one store. Time passes only when the test lets it."""

    def __init__(self, store: PaymentStore, pass_time: Callable[[float], None]) -> None:
        self.store, self._pass_time = store, pass_time
        self.now = 0.0
        self.queue = Queue()
        self.customer = Customer()

    def announcer(self, owner: str = "one", source: WorkSource | None = None) -> WorkAnnouncer:
        """One more process's announcer."""
        return WorkAnnouncer(
            owner=owner,
            store=source or self.store,
            queue=self.queue,
            gateways=["gatewayA", "gatewayB"],
            lease_s=LEASE_S,
            monotonic=lambda: self.now,
        )

    def wait(self, seconds: float) -> None:
        """Let time pass everywhere."""
        self.now += seconds
        self._pass_time(seconds)

    def deposit(self, name: str, gateway: str = "gatewayA", owner: str | None = None) -> None:
        """Queue work, or lease it to ``owner``."""
        self.store.append([self.customer.deposit(name, gateway=gateway, owner=owner)])


@pytest.fixture
def scenario(store: PaymentStore, pass_time: Callable[[float], None]) -> Scenario:
    """A scenario on each store."""
    return Scenario(store, pass_time)


def test_due_work_is_announced_once(scenario: Scenario) -> None:
    """Of every gateway, with all that a hint names. Work that a process leases is not announced."""
    announcer = scenario.announcer()
    scenario.deposit("t1")
    scenario.deposit("t2", "gatewayB")
    scenario.deposit("t3", owner=OWNER)
    scenario.deposit("t4", "retired")
    assert announcer.step() == POLL_S
    assert sorted(scenario.queue.hints) == [WorkHint("t1", "t1", "gatewayA"), WorkHint("t2", "t2", "gatewayB")]
    assert announcer.state.leading
    assert announcer.state.announced == 2
    scenario.wait(POLL_S)
    announcer.step()
    scenario.deposit("t5")
    announcer.step()
    assert scenario.queue.ids == ["t1", "t2", "t5"]


def test_work_that_nobody_claims_is_announced_again(scenario: Scenario) -> None:
    """Its hint may have been lost, or no processor could take it then."""
    announcer = scenario.announcer()
    scenario.deposit("t1")
    announcer.step()
    scenario.wait(REPEAT_S - 1)
    announcer.step()
    assert scenario.queue.ids == ["t1"]
    scenario.wait(1)
    announcer.step()
    assert scenario.queue.ids == ["t1"]
    assert announcer.state.announced == 2


def test_work_that_is_queued_again_is_announced_again(scenario: Scenario) -> None:
    """A processor claimed it and gave it back, which renews its token."""
    announcer = scenario.announcer()
    scenario.deposit("t1")
    announcer.step()
    assert len(scenario.store.claim_work(OWNER, "gatewayA", 1)) == 1
    announcer.step()
    scenario.store.retire_owner(OWNER, unsent=True)
    announcer.step()
    assert scenario.queue.ids == ["t1", "t1"]


def test_a_long_list_is_announced_as_it_is_claimed(scenario: Scenario) -> None:
    """One look reads a bounded number of pieces; the next ones follow when the first are claimed."""
    announcer = scenario.announcer()
    for number in range(DUE_MAX + 5):
        scenario.deposit(f"t{number:03}")
        scenario.wait(0.001)
    announcer.step()
    announcer.step()
    assert len(scenario.queue.ids) == DUE_MAX
    scenario.store.claim_work(OWNER, "gatewayA", 10)
    announcer.step()
    assert scenario.queue.ids == [f"t{number:03}" for number in range(DUE_MAX, DUE_MAX + 5)]


def test_one_announcer_leads(scenario: Scenario) -> None:
    """The other one stands by, and takes over at once when the leader gives its lease back."""
    first, second = scenario.announcer("one"), scenario.announcer("two")
    scenario.deposit("t1")
    first.step()
    assert second.step() == STANDBY_S
    assert (scenario.queue.ids, second.state) == (["t1"], AnnouncerState())
    first.resign()
    assert (first.state.leading, scenario.queue.closed) == (False, 1)
    second.step()
    assert scenario.queue.ids == ["t1"]


def test_a_leader_that_dies_is_followed_within_its_lease(scenario: Scenario) -> None:
    """The other one takes over at its next request after the expiry."""
    scenario.announcer("dead").step()
    other, waited = scenario.announcer("two"), 0.0
    while not other.state.leading:
        wait_s = other.step()
        scenario.wait(wait_s)
        waited += wait_s
        assert waited <= LEASE_S + 1.0


def test_a_leader_that_was_frozen_stands_by(scenario: Scenario) -> None:
    """Another process leads meanwhile. The old leader announces nothing more."""
    frozen, other = scenario.announcer("one"), scenario.announcer("two")
    frozen.step()
    scenario.wait(LEASE_S)
    other.step()
    scenario.deposit("t1")
    frozen.step()
    assert (frozen.state.leading, scenario.queue.ids) == (False, [])
    other.step()
    assert scenario.queue.ids == ["t1"]


def test_a_defect_at_the_end_leaves_no_connection_open(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error of the store is logged. The lease expires by itself, and the queue is closed."""
    source = Failing(scenario.store)
    announcer = scenario.announcer(source=source)  # type: ignore[arg-type]
    announcer.step()
    source.fails = ZeroDivisionError()
    announcer.resign()
    assert (announcer.state.leading, scenario.queue.closed) == (False, 1)
    assert any(record.exc_info for record in caplog.records)


def test_it_leads_apart_from_the_relay_of_events(scenario: Scenario) -> None:
    """An event that the broker refuses stops the relay of events, and not the work."""
    assert scenario.store.lead("events", "another process", LEASE_S) is not None
    scenario.deposit("t1")
    scenario.announcer().step()
    assert scenario.queue.ids == ["t1"]


def test_a_store_that_does_not_answer(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked again after growing waits. The problem is in the state until a step succeeds."""
    source = Failing(scenario.store)
    announcer = scenario.announcer(source=source)  # type: ignore[arg-type]
    announcer.step()
    source.fails = StoreUnavailableError("no connection")
    scenario.wait(LEASE_S)
    with caplog.at_level(logging.WARNING):
        waits = [announcer.step() for _ in range(7)]
    assert waits == [0.5, 1, 2, 4, 8, RETRY_MAX_S, RETRY_MAX_S]
    assert (announcer.state.problem, announcer.state.leading) == ("no connection", False)
    assert [record.getMessage() for record in caplog.records] == ["due work cannot be announced: no connection"]
    source.fails = None
    scenario.deposit("t1")
    with caplog.at_level(logging.INFO):
        assert announcer.step() == POLL_S
    assert [record.message for record in caplog.records[1:] if "leads" not in record.message] == [
        "due work can be announced again"
    ]
    assert (announcer.state.problem, announcer.state.leading, scenario.queue.ids) == (None, True, ["t1"])


def test_a_defect_does_not_end_it(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, and the next step is tried."""
    source = Failing(scenario.store)
    announcer = scenario.announcer(source=source)  # type: ignore[arg-type]
    source.fails = RuntimeError("a defect")
    assert announcer.step() == 0.5
    assert announcer.state.problem == "RuntimeError: a defect"
    assert caplog.records[-1].exc_info is not None
    source.fails = None
    assert announcer.step() == POLL_S


def test_from_start_to_stop_on_a_thread(scenario: Scenario) -> None:
    """The thread of the relay runs it, too. At the end it gives the lease back and closes its queue."""
    scenario.deposit("t1")
    thread = RelayThread(scenario.announcer(), "announcer")
    thread.start()
    until(lambda: bool(scenario.queue.hints))
    thread.stop()
    record = scenario.store.checkpoint(ANNOUNCER_OF_WORK)
    assert record is not None
    assert (record.owner, scenario.queue.closed) == (None, 1)
