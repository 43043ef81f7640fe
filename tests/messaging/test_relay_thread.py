"""The relay on a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from messaging.relay_thread import RelayThread
from store.backend import PaymentStore
from tests.messaging.relaying import Scenario


def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; the test's own time limit ends a wait for nothing."""
    while not condition():
        time.sleep(0.01)


def test_from_start_to_stop(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """It publishes what is there and what follows, and gives the lease back at the end."""
    scenario = Scenario(store, pass_time)
    scenario.fill(2)
    thread = RelayThread(scenario.relay())
    thread.start()
    until(lambda: len(scenario.broker.delivered) == 6)
    scenario.fill(1)
    until(lambda: len(scenario.broker.delivered) == 9)
    thread.stop()
    scenario.check()
    assert scenario.at().owner is None


def test_a_stop_does_not_wait_for_ever(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """The broker does not answer: the process may end, and the lease expires."""
    scenario = Scenario(store, pass_time)
    scenario.fill(1)
    reached, release = Event(), Event()

    def hang(_: str) -> None:
        reached.set()
        release.wait()

    scenario.broker.at_step = hang
    thread = RelayThread(scenario.relay())
    thread.start()
    reached.wait()
    thread.stop()
    assert scenario.at().owner == "one"
    release.set()
    thread._thread.join()
    assert scenario.at().owner is None
