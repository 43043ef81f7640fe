"""What a queue over a broker adds to the contract: several processes, outages, and consumers that die."""

from __future__ import annotations

import threading
from collections.abc import Callable

from messaging.port import WorkHint
from tests.messaging.conftest import BrokerNetwork


def hint(number: int) -> WorkHint:
    """A hint of gatewayA."""
    return WorkHint(f"w-{number}", f"t-{number}", "gatewayA")


def announced_until(network: BrokerNetwork, condition: Callable[[], bool]) -> None:
    """Announce hints, as a relay does, until one gets through."""
    queue = network.queue()

    def holds() -> bool:
        queue.announce(hint(0))
        return condition()

    network.settle(holds)


def test_two_processes_share_the_hints_of_a_gateway(broker_network: BrokerNetwork) -> None:
    """Each hint reaches one of them, and both get some."""
    one: list[WorkHint] = []
    two: list[WorkHint] = []
    for hints in (one, two):
        broker_network.queue().subscribe(["gatewayA"], hints.append)
    announced_until(broker_network, lambda: bool(one and two))
    one.clear()
    two.clear()
    announcer = broker_network.queue()
    for number in range(1, 101):
        announcer.announce(hint(number))
    expected = {hint(number) for number in range(1, 101)}
    broker_network.settle(lambda: expected <= {*one, *two})
    assert sorted(it for it in one + two if it != hint(0)) == sorted(expected)


def test_a_broker_that_is_away_harms_no_announcer(broker_network: BrokerNetwork) -> None:
    """An announcement neither blocks nor raises. The hints are lost or late."""
    broker_network.go_away()
    queue = broker_network.queue()
    for number in range(1_000):
        queue.announce(hint(number))
    broker_network.come_back()


def test_hints_go_on_after_an_outage(broker_network: BrokerNetwork) -> None:
    """The same queues connect again by themselves, on both sides, each time."""
    hints: list[WorkHint] = []
    broker_network.queue().subscribe(["gatewayA"], hints.append)
    announced_until(broker_network, lambda: bool(hints))
    for _ in range(2):
        broker_network.go_away()
        hints.clear()
        broker_network.come_back()
        announced_until(broker_network, lambda: bool(hints))
        assert set(hints) == {hint(0)}


def test_a_broker_that_is_away_at_the_start(broker_network: BrokerNetwork) -> None:
    """A subscription made without a broker is served once there is one."""
    broker_network.go_away()
    hints: list[WorkHint] = []
    broker_network.queue().subscribe(["gatewayA"], hints.append)
    broker_network.come_back()
    announced_until(broker_network, lambda: bool(hints))
    assert set(hints) == {hint(0)}


def test_a_hint_survives_a_consumer_that_dies_before_it_acknowledges(broker_network: BrokerNetwork) -> None:
    """It is delivered again, to whichever process is there."""
    held, release = threading.Event(), threading.Event()
    again: list[WorkHint] = []

    def hold(_: WorkHint, /) -> None:
        held.set()
        release.wait()

    broker_network.queue().subscribe(["gatewayA"], hold)
    broker_network.queue().announce(hint(1))
    broker_network.settle(held.is_set)
    assert held.is_set()
    broker_network.queue().subscribe(["gatewayA"], again.append)
    broker_network.cut()
    broker_network.settle(lambda: hint(1) in again)
    release.set()
    assert hint(1) in again
