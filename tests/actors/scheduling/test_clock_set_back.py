"""A wall clock that is set back: due times move with it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from actors.messages import WorkDue
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Status
from store.errors import StoreUnavailableError
from store.sqlite.adapter import SqliteStore
from tests.actors.scheduling.fixtures import LEASE_S, Scenario
from tests.actors.support import GATEWAY, TroubledStore
from tests.actors.system.keyless_world import World

BEAT_S = LEASE_S / 3
HOUR_S = 3600.0
DUE_S = 21.0


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """Actors that have started."""
    scenario = Scenario(runtime, store, real_store)
    scenario.start()
    return scenario


def followed(scenario: Scenario) -> int:
    """How often due times were moved."""
    return scenario.store.calls.count("clock_set_back")


@pytest.mark.parametrize("back_s", [1.5, 60.0, 3 * HOUR_S, 40 * 24 * HOUR_S])
def test_work_is_due_when_it_was_to_be(scenario: Scenario, back_s: float) -> None:
    """It is due neither later nor earlier, because earlier retries would put load on a failing gateway."""
    ids = scenario.queued(2, delay_s=DUE_S)
    scenario.runtime.wall_offset_s -= back_s
    scenario.run(DUE_S - 1.0)
    assert scenario.claimed() == []
    scenario.run(BEAT_S)
    assert scenario.claimed() == ids
    assert followed(scenario) == 1


def test_a_clock_that_is_slowly_set_back_is_followed(scenario: Scenario) -> None:
    """Steps that are too small to count add up; due times are never late by more than a second."""
    ids = scenario.queued(delay_s=600.0)
    for _ in range(120):
        scenario.run(BEAT_S)
        scenario.runtime.wall_offset_s -= 0.4
    assert scenario.claimed() == []
    scenario.run(BEAT_S + 1.5)
    assert scenario.claimed() == ids


def test_a_clock_that_goes_on_is_left_alone(scenario: Scenario) -> None:
    """Normal progress, forward jumps and steps below the threshold move nothing."""
    scenario.queued(delay_s=24 * HOUR_S)
    for change_s in (0.0, 0.3, -0.3, 2 * HOUR_S, 60.0, -0.9, 0.9):
        scenario.runtime.wall_offset_s += change_s
        scenario.run(LEASE_S)
    assert followed(scenario) == 0


def test_a_clock_that_was_ahead_and_is_corrected(scenario: Scenario) -> None:
    """Work that was planned by the wrong clock keeps its delay."""
    scenario.runtime.wall_offset_s += 3 * HOUR_S
    scenario.run(LEASE_S)
    ids = scenario.queued(delay_s=DUE_S)
    scenario.runtime.wall_offset_s -= 3 * HOUR_S
    scenario.run(DUE_S - 1.0)
    assert scenario.claimed() == []
    scenario.run(BEAT_S)
    assert scenario.claimed() == ids


def test_dues_follow_every_time(scenario: Scenario) -> None:
    """When the clock is set back again, due times move by that step only."""
    ids = scenario.queued(delay_s=10 * DUE_S)
    for back_s in (HOUR_S, 5.0, 24 * HOUR_S):
        scenario.runtime.wall_offset_s -= back_s
        scenario.run(2 * DUE_S)
    assert followed(scenario) == 3
    scenario.run(4 * DUE_S - 1.0)
    assert scenario.claimed() == []
    scenario.run(BEAT_S)
    assert scenario.claimed() == ids


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), RuntimeError("a defect"), SystemExit()])
def test_due_times_are_moved_after_the_store_failed(scenario: Scenario, error: BaseException) -> None:
    """The move is repeated until the store has done it, and not after that."""
    ids = scenario.queued(delay_s=DUE_S)
    scenario.store.inject("clock_set_back", error, error)
    scenario.runtime.wall_offset_s -= HOUR_S
    scenario.run(DUE_S + BEAT_S)
    assert scenario.claimed() == ids
    scenario.run(LEASE_S)
    assert followed(scenario) == 3


def test_a_successor_keeps_the_readings_of_the_clocks(scenario: Scenario) -> None:
    """An actor that dies between the clock's step and its detection loses nothing."""
    ids = scenario.queued(delay_s=DUE_S)
    scenario.runtime.wall_offset_s -= HOUR_S
    scenario.store.inject("claim_work", SystemExit())
    scenario.address.tell(WorkDue(GATEWAY, 0.0))
    scenario.run(1.0)
    assert scenario.address.deaths == 1
    scenario.run(DUE_S + BEAT_S)
    assert scenario.claimed() == ids
    assert followed(scenario) == 1


def test_a_deposit_does_not_wait_for_hours(tmp_path: Path) -> None:
    """A service whose clock is set back between two attempts makes the second one within seconds."""
    world = World(tmp_path, 1)
    fates = ["answered", "refused"]
    world.provider.fate = lambda _: fates.pop()
    [key] = world.send()
    while not world.real.next_due_s(GATEWAY):
        world.runtime.step()
    world.runtime.wall_offset_s -= 3 * HOUR_S
    world.run(60.0)
    assert world.statuses() == {key: Status.COMPLETED}
    world.judge()


@pytest.mark.parametrize("ahead_s", [2 * 24 * HOUR_S, 365 * 24 * HOUR_S])
def test_a_clock_that_was_corrected_while_the_service_was_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ahead_s: float
) -> None:
    """No process observed the change, but no due time is later than the longest delay, and a warning is logged."""
    world = World(tmp_path, 1)
    fates = ["answered", "refused"]
    world.provider.fate = lambda _: fates.pop()
    world.runtime.wall_offset_s += ahead_s
    world.run(1.0)
    [key] = world.send()
    while not world.real.next_due_s(GATEWAY):
        world.runtime.step()
    with caplog.at_level(logging.WARNING):
        world.crash()
    assert "the clock was wrong when this was planned" in caplog.messages
    due_s = world.real.next_due_s(GATEWAY)
    assert due_s is not None
    assert due_s <= 24 * HOUR_S
    world.leap(24 * HOUR_S + 60.0)
    assert world.statuses() == {key: Status.COMPLETED}


def test_plans_by_a_clock_that_is_right_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A restart keeps all due times."""
    world = World(tmp_path, 1, fates=("silent",))
    world.provider.unanswered_share = 1.0
    world.send(3)
    world.run(HOUR_S)
    due_s = world.real.next_due_s(GATEWAY)
    with caplog.at_level(logging.WARNING):
        world.crash(10.0)
    assert due_s is not None
    assert world.real.next_due_s(GATEWAY) == pytest.approx(due_s - 10.0, abs=0.1)
    assert not [message for message in caplog.messages if "clock" in message]
