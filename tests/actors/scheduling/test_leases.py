"""Leases that could not be given up: no actor works on them, so the next beat gives all leases back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.heartbeat import BEAT_MAX_S
from actors.leases import LANDS_WITHIN_S
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Status
from store.errors import CommitUncertainError, CorruptStoreError, SchemaError, StoreUnavailableError
from store.port import AppendResult, Write
from store.sqlite.adapter import SqliteStore
from tests.actors.customer.fixtures import Customers
from tests.actors.scheduling.fixtures import LEASE_S, Scenario
from tests.actors.support import GATEWAY, OWNER, TroubledStore
from tests.actors.system.keyless_world import World

AWAY = StoreUnavailableError("away")
BEAT_S = LEASE_S / 3


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """Started actors in a process that holds two leases."""
    scenario = Scenario(runtime, store, real_store)
    scenario.start()
    scenario.queued(2, owner=OWNER)
    return scenario


def given_back(scenario: Scenario) -> int:
    """How often the leases of the process were given back."""
    return scenario.store.calls.count("retire_owner")


def test_all_leases_are_given_back_once(scenario: Scenario) -> None:
    """They are given back at the next beat, neither earlier nor twice; the work is claimed again."""
    scenario.run(LEASE_S)
    assert (scenario.claimed(), given_back(scenario)) == ([], 0)
    scenario.leases.doubt()
    scenario.run(BEAT_S + 0.1)
    assert scenario.claimed() == ["t-0001", "t-0002"]
    scenario.run(3 * LEASE_S)
    assert given_back(scenario) == 1
    assert scenario.real.heartbeat(OWNER)


@pytest.mark.parametrize("error", [AWAY, CommitUncertainError("cut"), RuntimeError("a defect"), SystemExit()])
def test_leases_are_given_back_after_the_store_failed(scenario: Scenario, error: BaseException) -> None:
    """However it fails, and even if the actor dies of it, the leases are given back later."""
    scenario.store.inject("retire_owner", error, error)
    scenario.leases.doubt()
    scenario.run(4 * BEAT_S)
    assert scenario.store.troubles_left == 0
    assert scenario.claimed() == ["t-0001", "t-0002"]
    assert given_back(scenario) == 3


def test_a_doubt_at_that_moment_is_kept(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A doubt reported while leases are given back may come too late for that, and counts for the next beat."""
    retire = scenario.store.retire_owner
    said: list[str] = []

    def retiring(owner: str, *, unsent: bool) -> int:
        count = retire(owner, unsent=unsent)
        if not said:
            said.append(owner)
            scenario.leases.doubt()
        return count

    monkeypatch.setattr(scenario.store, "retire_owner", retiring)
    scenario.leases.doubt()
    scenario.run(5 * BEAT_S)
    assert given_back(scenario) == 2


@pytest.mark.parametrize("uncertain", [False, True])
def test_a_process_that_gives_leases_back_is_not_reported_dead(
    scenario: Scenario, caplog: pytest.LogCaptureFixture, *, uncertain: bool
) -> None:
    """The process continues as the same owner: a log line that states otherwise would mislead operators."""
    if uncertain:
        scenario.store.inject("claim_work", CommitUncertainError("cut"))
    else:
        scenario.leases.doubt()
    with caplog.at_level(logging.WARNING):
        scenario.run(3 * BEAT_S)
    assert given_back(scenario) == 1
    assert [record.message for record in caplog.records if "dead" in record.message] == []


@pytest.mark.parametrize(
    "error", [None, AWAY, CommitUncertainError("cut"), CorruptStoreError("odd"), RuntimeError("a defect"), SystemExit()]
)
def test_a_lease_that_cannot_be_given_up_is_reported(
    keyless: Customers, store: TroubledStore, error: BaseException | None
) -> None:
    """It is reported for every failure of the store, but not if the lease was given up or another owner has it."""
    item = keyless.deposited()
    assert item.transaction is not None
    odd = replace(item, transaction=replace(item.transaction, transaction_id="absent"))
    if error is not None:
        store.inject("append", *[error] * 50)
    keyless.submit(odd)
    keyless.run(60.0)
    assert [cleared.item for cleared in keyless.cleared()] == [None]
    assert (keyless.leases_kept > 0) is (error is not None)


@pytest.mark.parametrize(
    "error", [RuntimeError("a defect"), MemoryError(), CorruptStoreError("bad page"), SchemaError("SQLError")]
)
def test_work_goes_on_after_a_store_that_failed_at_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Half a minute of unexpected errors just after a deposit was stored: after that it is sent, once."""
    world = World(tmp_path, 1, fates=("answered",))
    [key] = world.send()
    while not world.real.work_counts():
        world.runtime.step()
    append, until = world.store.append, world.runtime.monotonic() + 30.0

    def failing(writes: Sequence[Write]) -> list[AppendResult]:
        if world.runtime.monotonic() < until:
            raise error
        return append(writes)

    monkeypatch.setattr(world.store, "append", failing)
    world.run(60.0)
    assert world.statuses() == {key: Status.COMPLETED}
    world.judge()


def test_a_retired_process_holds_no_lease(scenario: Scenario) -> None:
    """A beat after the retirement does not register again: an owner without a process would keep its leases."""
    scenario.leases.retired = True
    scenario.real.retire_owner(OWNER, unsent=True)
    scenario.run(10 * LEASE_S)
    assert not scenario.real.heartbeat(OWNER)
    assert scenario.address.deaths == 0


@pytest.mark.parametrize("again", ["heartbeat", "retire_owner"])
def test_a_process_that_retires_during_a_beat_stays_retired(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    """The same must hold when the beat was under way."""
    original = getattr(scenario.store, again)

    def amid(*arguments: Any, **more: Any) -> Any:
        scenario.leases.retired = True
        scenario.real.retire_owner(OWNER, unsent=True)
        return original(*arguments, **more)

    monkeypatch.setattr(scenario.store, again, amid)
    scenario.leases.doubt()
    scenario.run(LEASE_S)
    assert not scenario.real.heartbeat(OWNER)


def test_a_long_lease_delays_no_work(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> None:
    """Work that another process gives back is found within seconds, however long leases are."""
    scenario = Scenario(runtime, store, real_store, lease_s=3_600.0)
    scenario.start()
    scenario.queued()
    scenario.run(BEAT_MAX_S + 0.1)
    assert scenario.claimed() == ["t-0001"]


@pytest.mark.parametrize("late_s", [0.1, 4.0, 10.0])
def test_a_claim_that_lands_late_is_given_back(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore, late_s: float
) -> None:
    """A claim whose connection was cut may be committed after its process gave all leases back."""
    scenario = Scenario(runtime, store, real_store)
    store.inject("claim_work", CommitUncertainError("cut"), CommitUncertainError("cut"))  # work of both gateways
    scenario.start()
    scenario.run(late_s)
    scenario.backpressure.claimable[GATEWAY] = 0
    scenario.queued()
    (late,) = scenario.real.claim_work(OWNER, GATEWAY, 10)  # without a result for the process
    scenario.backpressure.claimable[GATEWAY] = 10
    scenario.run(LANDS_WITHIN_S + BEAT_S)
    assert scenario.claimed() == [late.work_id]
