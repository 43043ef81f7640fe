"""Each part of a process at the broker starts where the role needs it, and ends with the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from messaging import process
from messaging.announcer import ANNOUNCER_OF_WORK
from messaging.port import WorkHint
from messaging.process import Duties, MessagingProcess
from messaging.relay import RELAY_OF_EVENTS
from messaging.stats import AnnouncerStats, RelayStats
from store.backend import PaymentStore
from tests.messaging.builders import messages_of
from tests.messaging.memory_network import MemoryModule
from tests.messaging.test_relay_thread import until
from tests.store.builders import Customer

URL = "memory://me:hunter2@here"
ALL = Duties(relays=True, announces=True, processes=True)
HINT = WorkHint("t1", "t1", "gatewayA")
LED = (True, False)
"""It leads, and its newest step did not fail."""


class Seen:
    """The statistics of a process's relay and announcer; None where it has none."""

    def __init__(self) -> None:
        self.relay: Callable[[], RelayStats] | None = None
        self.announcer: Callable[[], AnnouncerStats] | None = None
        self.hints: list[WorkHint] = []

    def watch_relay(self, name: str, stats: Callable[[], RelayStats], /) -> Callable[[float], None]:
        """See LeaderMeters."""
        assert name == RELAY_OF_EVENTS
        self.relay = stats
        return lambda _: None

    def watch_announcer(self, name: str, stats: Callable[[], AnnouncerStats], /) -> None:
        """See LeaderMeters."""
        assert name == ANNOUNCER_OF_WORK
        self.announcer = stats


class Scenario:
    """Processes on one store and one broker, each with the hints that its actors got."""

    def __init__(self, store: PaymentStore, module: MemoryModule) -> None:
        self.store, self.module = store, module
        self.customer = Customer()
        self.started: list[MessagingProcess] = []

    def start(self, duties: Duties, owner: str = "one") -> tuple[MessagingProcess, Seen]:
        """Start one more process."""
        messaging, seen = MessagingProcess(URL, duties, structured=False), Seen()
        messaging.start(
            self.store,
            owner=owner,
            make_messages=messages_of,
            gateways=["gatewayA"],
            handler=seen.hints.append,
            lease_s=15.0,
            monotonic=time.monotonic,
            meters=seen,
        )
        self.started.append(messaging)
        return messaging, seen

    def leader(self, name: str) -> str | None:
        """The owner of a lease."""
        record = self.store.checkpoint(name)
        return None if record is None else record.owner


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> MemoryModule:
    """The only broker that processes find."""
    module = MemoryModule()
    monkeypatch.setattr(process, "broker_of", lambda _: module)
    return module


@pytest.fixture
def scenario(store: PaymentStore, module: MemoryModule) -> Iterator[Scenario]:
    """A scenario without processes."""
    scenario = Scenario(store, module)
    yield scenario
    for messaging in scenario.started:
        messaging.stop()


def test_work_is_handed_from_one_process_to_another(scenario: Scenario) -> None:
    """One announces what any process queued, and another's actors get the hint. The events are published besides."""
    _, processor = scenario.start(Duties(relays=False, announces=False, processes=True), "processor")
    _, relay = scenario.start(Duties(relays=True, announces=True, processes=False), "relay")
    scenario.store.append([scenario.customer.deposit("t1")])
    until(lambda: bool(processor.hints))
    until(lambda: len(scenario.module.broker.delivered) == 1)
    assert (processor.hints, relay.hints) == ([HINT], [])
    until(lambda: relay.announcer is not None and relay.announcer() == AnnouncerStats(*LED, 1, 0, 0))
    until(lambda: relay.relay is not None and relay.relay() == RelayStats(*LED, 1, 0, 0))
    assert (scenario.leader(RELAY_OF_EVENTS), scenario.leader(ANNOUNCER_OF_WORK)) == ("relay", "relay")


@pytest.mark.parametrize("duties", [Duties(*(False,) * 3), Duties(False, False, True)])  # noqa: FBT003  # a table
def test_a_process_that_does_not_relay_asks_for_no_lease(scenario: Scenario, duties: Duties) -> None:
    """It publishes nothing. It has statistics of neither a relay nor an announcer."""
    messaging, seen = scenario.start(duties)
    assert (seen.relay, seen.announcer) == (None, None)
    messaging.drain()
    messaging.stop()
    assert (scenario.leader(RELAY_OF_EVENTS), scenario.leader(ANNOUNCER_OF_WORK)) == (None, None)


def test_a_process_that_owns_its_store_publishes_and_hands_nothing_out(scenario: Scenario) -> None:
    """No other process could claim the work."""
    messaging, seen = scenario.start(Duties(relays=True, announces=False, processes=False))
    scenario.store.append([scenario.customer.deposit("t1")])
    until(lambda: len(scenario.module.broker.delivered) == 1)
    messaging.stop()
    assert (seen.hints, seen.announcer, scenario.leader(ANNOUNCER_OF_WORK)) == ([], None, None)


def test_a_drain_leaves_hints_to_others(scenario: Scenario) -> None:
    """A process that stops gets no more hints, and announces and publishes until its stop."""
    first, of_first = scenario.start(ALL, "one")
    _, of_other = scenario.start(Duties(relays=False, announces=False, processes=True), "two")
    first.drain()
    taking = scenario.module.network.queues
    until(lambda: sum(bool(queue.handlers) for queue in taking) == 1)
    scenario.store.append([scenario.customer.deposit("t1")])
    until(lambda: bool(of_other.hints))
    assert (of_first.hints, of_other.hints) == ([], [HINT])


def test_a_stop_gives_both_leases_back(scenario: Scenario) -> None:
    """Another process leads at once. All connections are closed."""
    messaging, _ = scenario.start(ALL)
    until(lambda: scenario.leader(RELAY_OF_EVENTS) == scenario.leader(ANNOUNCER_OF_WORK) == "one")
    messaging.drain()
    messaging.stop()
    messaging.stop()
    assert (scenario.leader(RELAY_OF_EVENTS), scenario.leader(ANNOUNCER_OF_WORK)) == (None, None)
    assert all(queue.closed for queue in scenario.module.network.queues)
    assert [publisher.closed for publisher in scenario.module.publishers] == [1]


def test_a_refused_event_does_not_stop_the_work(scenario: Scenario) -> None:
    """Relay and announcer have a thread each."""
    scenario.module.broker.refuses = lambda _: "full"
    _, seen = scenario.start(ALL)
    scenario.store.append([scenario.customer.deposit("t1")])
    until(lambda: seen.relay is not None and seen.relay().refusals == 1)
    scenario.store.append([scenario.customer.deposit("t2")])
    until(lambda: len(seen.hints) == 2)


def wrong(url: str) -> str:
    """Why a URL is refused."""
    with pytest.raises(ValueError, match="must") as refusal:
        MessagingProcess(url, Duties(*(False,) * 3), structured=False)
    return str(refusal.value)


def test_every_role_refuses_a_wrong_url(module: MemoryModule) -> None:
    """Also one that would not use it: the environment is shared by the roles."""
    assert wrong("memory://hunter2") == "must name a user"
    assert module.network.queues == []


def test_no_broker_of_that_scheme() -> None:
    """Its text shows nothing of the URL."""
    assert "hunter2" not in wrong("carrier-pigeon://me:hunter2@here")
