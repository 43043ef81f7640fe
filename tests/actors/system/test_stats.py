"""Statistics of a process: what waits and which calls run, from any thread, at any moment, without blocking."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors.replies import Accepted
from actors.runtime.runtime import LiveRuntime
from actors.service import OTHERS_MAX
from actors.stats import AdmissionStats, GatewayStats
from domain.outcomes import Outcome
from gateways.port import Order
from store.port import AppendResult, GatewayMode, Write
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.actors.support import GATEWAY, TroubledStore
from tests.actors.system.fixtures import SETTINGS, Service
from tests.actors.system.test_system_live import WAIT_S, until

QUIET = dict.fromkeys(("journal", "scheduler", "dead-letters", "supervisor", "breaker-sync", "customers"), 0)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Service]:
    """A service on real threads that is not started."""
    path = tmp_path / "payments.db"
    migrate(path)
    runtime = LiveRuntime()
    store = SqliteStore(path, clock=runtime.now)
    yield Service(runtime, TroubledStore(store), store)
    runtime.stop(5.0)
    store.close()


def test_a_process_that_does_nothing(live: Service) -> None:
    """Before its start and at rest nothing waits, and reading the stats starts no actor."""
    no_requests = {"commands": AdmissionStats(0, 0, 0, 128), "others": AdmissionStats(0, 0, 0, OTHERS_MAX)}
    idle = (QUIET, 0, no_requests, (GatewayStats(GATEWAY, "closed", 0, 0, 5),))
    assert live.system.stats() == idle
    assert not live.system.actors.journal.alive
    live.system.start()
    until(lambda: live.system.stats() == idle)


def test_a_process_that_makes_no_calls_has_no_slots(live: Service) -> None:
    """Otherwise the sum over all processes would count slots that nothing can use."""
    settings = replace(SETTINGS, processing=False)
    accepting = Service(live.runtime, live.store, live.real, settings=settings)
    assert accepting.system.stats().gateways == (GatewayStats(GATEWAY, "closed", 0, 0, 0),)


def test_calls_that_are_out(live: Service) -> None:
    """While the provider does not answer, all slots are taken and other work waits; each customer's actor counts."""
    gate = threading.Event()

    def hang(order: Order) -> Outcome:
        assert gate.wait(WAIT_S)
        return live.gateway.accept(order)

    live.gateway.answer = hang
    live.system.start()
    assert all(isinstance(live.receive(f"c{number}"), Accepted) for number in range(12))
    until(lambda: live.system.stats().gateways == (GatewayStats(GATEWAY, "closed", 5, 7, 5),))
    assert live.system.stats().customers == 12
    live.facade.set_breaker_mode(GatewayMode(GATEWAY, "open", "a test"))
    assert live.system.stats().gateways[0].breaker == "open"
    gate.set()


def test_requests_and_writes_that_wait(live: Service) -> None:
    """While the store hangs in a commit, other writes wait in the journal's mailbox, and their requests wait."""
    gate, hangs, real = threading.Event(), threading.Event(), live.store.append

    def stuck(writes: list[Write]) -> list[AppendResult]:
        hangs.set()
        assert gate.wait(WAIT_S)
        return real(writes)

    live.store.append = stuck  # type: ignore[method-assign,assignment]
    live.system.start()
    clients = [threading.Thread(target=live.receive, args=(f"c{number}",)) for number in range(4)]
    clients[0].start()
    assert hangs.wait(WAIT_S)  # else its commit could carry the writes of all clients
    for client in clients[1:]:
        client.start()
    until(lambda: live.system.stats().admissions["commands"].inside == 4)
    until(lambda: live.system.stats().mailboxes["journal"] > 0)
    gate.set()
    for client in clients:
        client.join(WAIT_S)
    until(lambda: live.system.stats().mailboxes == QUIET)
    assert live.system.stats().admissions["commands"] == (0, 0, 0, 128)
