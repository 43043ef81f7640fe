"""Two processes on one store, in virtual time: one breaker for both, and one probe at a time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from actors.composition import PERMIT_GRACE_S
from actors.gateways.breaker_sync import SHARE_S
from actors.messages import SetBreakerMode
from actors.runtime.actor import Future
from actors.runtime.simulated import SimulatedRuntime
from domain.outcomes import NotSentError, Outcome, OutcomeUnknownError
from gateways.port import Order
from gateways.settings import BreakerSettings
from store.errors import StoreUnavailableError
from store.port import BREAKER_REST_SLACK_S, GatewayMode
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, RecordingListener, SmallGateway, TroubledStore
from tests.actors.system.fixtures import Service

SLEEP_S = BreakerSettings().sleep_s
PERMIT_S = 2 * 5.0 + PERMIT_GRACE_S
OUTAGE_S = 65.0
METHODS = ("breakers", "turn_breaker", "take_probe")


class Pair:
    """Two services, and a provider that records the times of its calls."""

    def __init__(self, runtime: SimulatedRuntime, real: SqliteStore) -> None:
        self.runtime, self.real = runtime, real
        self.gateway = SmallGateway()
        self.healthy = True
        self.called: list[float] = []
        self.gateway.answer = self._answer
        self.stores = [TroubledStore(real), TroubledStore(real)]
        self.services = [self.service(store) for store in self.stores]
        for service in self.services:
            service.system.start()

    def service(self, store: TroubledStore) -> Service:
        """Another process."""
        return Service(self.runtime, store, self.real, self.gateway, heard=RecordingListener(), exclusive=False)

    def _answer(self, order: Order) -> Outcome:
        self.called.append(self.runtime.monotonic())
        if not self.healthy:
            raise NotSentError("connection refused")
        return self.gateway.accept(order)

    def run(self, seconds: float) -> None:
        """Let virtual ``seconds`` pass with everything that happens in them."""
        end = self.runtime.monotonic() + seconds
        self.runtime.run(end)
        self.runtime.advance(max(end - self.runtime.monotonic(), 0.0))

    def send(self, count: int, *numbers: int) -> None:
        """Deposits of many customers to the services of these numbers, or to both."""
        for service in [self.services[number] for number in numbers or (0, 1)]:
            for each in range(count):
                service.send(f"c{each}")

    def states(self) -> list[str]:
        """The states of both breakers."""
        return [service.system.actors.bulkheads[GATEWAY].breaker.state for service in self.services]

    def break_down(self) -> None:
        """Run until both breakers are open."""
        self.healthy = False
        self.send(20)
        for _ in range(100):
            self.run(0.1)
            if self.states() == ["open", "open"]:
                self.called.clear()
                return
        raise AssertionError(self.states())

    def order(self, number: int, mode: str) -> None:
        """Set an operator's mode in one of the processes."""
        order = SetBreakerMode(GatewayMode(GATEWAY, mode, "maintenance"), Future())
        self.services[number].system.actors.breaker_sync.tell(order)


@pytest.fixture
def pair(runtime: SimulatedRuntime, real_store: SqliteStore) -> Pair:
    """Two processes that have started."""
    return Pair(runtime, real_store)


def apart(called: list[float]) -> list[float]:
    """The times between calls."""
    return [later - earlier for earlier, later in pairwise(called)]


def test_an_outage_is_probed_once_in_each_sleep_by_both_together(pair: Pair) -> None:
    """When both are open, the only call is one probe after each sleep; a recovery closes both."""
    pair.break_down()
    pair.send(20)
    pair.run(OUTAGE_S)
    assert 4 <= len(pair.called) <= OUTAGE_S // SLEEP_S
    assert min(apart(pair.called)) >= SLEEP_S - BREAKER_REST_SLACK_S
    pair.healthy = True
    pair.run(SLEEP_S + 1.0)
    assert pair.states() == ["closed", "closed"]
    pair.run(120.0)
    assert len(pair.gateway.effects) == 80
    assert pair.real.work_counts() == {}


def test_one_process_opens_it_for_the_other(pair: Pair) -> None:
    """A process without failures makes no calls either, from the next tick on."""
    pair.healthy = False
    pair.send(20, 0)
    pair.run(5 * SHARE_S)  # under some seeds the first tick comes before the last of the failures
    assert pair.states() == ["open", "open"]
    calls = len(pair.called)
    pair.send(20, 1)
    pair.run(SLEEP_S - 2.0)
    assert len(pair.called) == calls
    assert [state for _, state in pair.services[1].heard.breakers] == ["open"]


def test_after_a_recovery_both_send_few_calls_at_first(pair: Pair) -> None:
    """Slow start applies to the process that did not probe as well."""
    pair.break_down()
    pair.healthy = True
    most, before = 0, 0
    for _ in range(200):
        pair.run(0.1)
        if pair.states() == ["closed", "closed"]:
            break
        most, before = max(most, len(pair.called) - before), len(pair.called)
    for service in pair.services:
        heard = [state for _, state in service.heard.breakers]
        assert heard[-1] == "closed"
    assert all(service.system.actors.bulkheads[GATEWAY].breaker._slow_start is not None for service in pair.services)


def test_a_process_that_starts_during_an_outage_makes_no_call(pair: Pair) -> None:
    """It follows the record before anything can be sent."""
    pair.break_down()
    third = pair.service(TroubledStore(pair.real))
    third.system.start()
    assert third.system.actors.bulkheads[GATEWAY].breaker.state == "open"
    pair.services.append(third)
    pair.send(5, 2)
    pair.run(SLEEP_S - 2.0)
    assert pair.called == []


def test_the_probe_of_a_paused_process_goes_to_the_other(pair: Pair) -> None:
    """The other one probes a sleep after the permit expired, and not before, because the first call may still run."""
    pair.break_down()
    pair.run(SLEEP_S / 2)
    epoch = pair.real.breakers()[GATEWAY].epoch
    pair.real.take_probe(GATEWAY, epoch, "frozen", sleep_s=0.0, permit_s=PERMIT_S)
    pair.run(PERMIT_S + SLEEP_S - 0.5)
    assert pair.called == []
    pair.healthy = True
    pair.run(4.0)
    assert pair.states() == ["closed", "closed"]


@pytest.mark.parametrize("away", [0, 1])
def test_a_process_without_the_store_opens_alone_without_probes(pair: Pair, away: int) -> None:
    """Its transition applies here at once; when the store is back it is recorded, or another's is followed."""
    pair.healthy = False
    for method in METHODS:
        pair.stores[away].inject(method, *[StoreUnavailableError("away")] * 60)
    # The other one does not find the failed work either, which would be failures of its own.
    pair.stores[1 - away].inject("queued_due", *[StoreUnavailableError("away")] * 3)
    pair.send(20, away)
    pair.run(1.0)
    assert pair.states()[away] == "open"
    assert pair.states()[1 - away] == "closed"
    calls = [*pair.services[away].heard.calls]
    pair.run(2 * SLEEP_S)
    assert pair.services[away].heard.calls == calls, "no probe without a grant by the store"
    pair.stores[away]._trouble.clear()
    pair.run(5.0)
    assert pair.states() == ["open", "open"]
    pair.healthy = True
    pair.run(SLEEP_S + 5.0)
    assert pair.states() == ["closed", "closed"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_mode_holds_in_both_and_one_of_them_probes_after_it(pair: Pair, number: int) -> None:
    """While it is forced open, neither calls. In auto again one probe is made, whichever process got the command."""
    pair.order(number, "open")
    pair.run(2 * SHARE_S)
    assert pair.states() == ["open", "open"]
    pair.healthy = False
    pair.send(10)
    pair.run(3 * SLEEP_S)
    assert pair.called == []
    pair.order(1 - number, "auto")
    pair.run(SLEEP_S - 1.0)
    assert len(pair.called) == 1
    assert pair.states() == ["open", "open"]
    pair.healthy = True
    pair.run(SLEEP_S + 1.0)
    assert pair.states() == ["closed", "closed"]


def test_held_closed_both_call_and_afterwards_both_are_closed(pair: Pair) -> None:
    """Failures meanwhile, and an open record, do not count any more."""
    pair.break_down()
    pair.order(0, "closed")
    pair.run(2 * SHARE_S)
    assert pair.states() == ["closed", "closed"]
    pair.send(10)
    pair.run(5.0)
    pair.healthy = True
    pair.order(1, "auto")
    pair.run(2 * SHARE_S)
    assert pair.states() == ["closed", "closed"]
    assert pair.real.breakers()[GATEWAY].state == "closed"


def test_both_that_trip_at_the_same_instant_open_it_once(pair: Pair) -> None:
    """One of them changed the record, in one epoch."""
    pair.gateway.answer = _unanswered
    pair.send(5)
    pair.run(2.0)
    assert pair.states() == ["open", "open"]
    assert pair.real.breakers()[GATEWAY].epoch == 1


def _unanswered(_: Order) -> Outcome:
    raise OutcomeUnknownError("timeout")


def test_a_gateway_that_is_no_longer_configured_prevents_no_start(pair: Pair) -> None:
    """Its record and its mode are left unchanged."""
    pair.real.turn_breaker("gatewayZ", 0, "open")
    pair.real.set_gateway_mode(GatewayMode("gatewayZ", "open", "gone"))
    third = pair.service(TroubledStore(pair.real))
    third.system.start()
    pair.run(1.0)
    assert third.facade.problems() == []
