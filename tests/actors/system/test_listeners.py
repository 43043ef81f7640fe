"""The reports of actors to listeners, and that each of several listeners gets them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from actors.listeners import Listener, Listeners
from actors.replies import SignatureInvalid
from actors.runtime.simulated import SimulatedRuntime
from store.codec import Metadata
from store.sqlite.adapter import SqliteStore
from tests.actors.scheduling.fixtures import LEASE_S, Scenario
from tests.actors.support import GATEWAY, OWNER, TroubledStore
from tests.actors.system.fixtures import Service

METHODS = [name for name, _ in inspect.getmembers(Listener, inspect.isfunction) if not name.startswith("_")]


class Recorder:
    """Keeps each report under its name."""

    def __init__(self, name: str, reports: list[tuple[str, str, tuple[object, ...]]]) -> None:
        self._name, self._reports = name, reports

    def __getattr__(self, method: str) -> Callable[..., None]:
        return lambda *arguments: self._reports.append((self._name, method, arguments))


@pytest.mark.parametrize("method", METHODS)
def test_each_of_several_listeners_gets_every_report(method: str) -> None:
    """Each report goes to each listener, unchanged, in their order."""
    reports: list[tuple[str, str, tuple[object, ...]]] = []
    recorders: list[Any] = [Recorder("first", reports), Recorder("second", reports)]
    parameters = inspect.signature(getattr(Listener, method)).parameters
    arguments = tuple(object() for name in parameters if name != "self")
    getattr(Listeners(*recorders), method)(*arguments)
    assert reports == [("first", method, arguments), ("second", method, arguments)]


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """A dead-letter actor on a store."""
    return Scenario(runtime, store, real_store)


def test_work_that_is_taken_over(scenario: Scenario) -> None:
    """The work that a dead process left is reported once."""
    scenario.start()
    scenario.real.register_owner("dead")
    scenario.queued(2, owner="dead")
    scenario.run(3 * LEASE_S)
    assert (scenario.heard.taken, scenario.heard.losses) == (2, 0)


def test_leases_that_are_lost(scenario: Scenario) -> None:
    """The loss is reported once for each time that others considered this process dead."""
    scenario.start()
    for losses in (1, 2):
        scenario.real.retire_owner(OWNER, unsent=True)
        scenario.run(LEASE_S)
        assert scenario.heard.losses == losses


def test_no_lease_is_lost_at_the_end(scenario: Scenario) -> None:
    """A process that gave everything back by itself has lost nothing."""
    scenario.start()
    scenario.leases.retired = True
    scenario.real.retire_owner(OWNER, unsent=True)
    scenario.run(LEASE_S)
    assert scenario.heard.losses == 0


def test_callbacks(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> None:
    """Each callback is reported with its reply, here for a gateway that sends no callbacks."""
    service = Service(runtime, store, real_store)
    service.system.start()
    assert service.facade.callback(GATEWAY, {}, b"{}", Metadata("r")) == SignatureInvalid()
    assert service.heard.callbacks == [(GATEWAY, SignatureInvalid())]


def test_recorded_events_come_with_their_transactions(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """An event of a transaction is reported with the transaction as the event left it."""
    service = Service(runtime, store, real_store)
    service.system.start()
    service.send()
    runtime.run(runtime.monotonic() + 1.0)
    assert [known.status for known in service.heard.known] == ["pending", "completed", "completed"]
    assert {known.gateway for known in service.heard.known} == {GATEWAY}
