"""The dead-letter actor: re-sends what is due, parks what cannot be read, and has no state that its successor needs."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from actors.dead_letters import RESENDS_MAX, TIMER_MAX_S
from actors.messages import CapacityFree, DeadLettered, ParkWork, ResendDue
from actors.runtime.simulated import SimulatedRuntime
from messaging.port import WorkHint
from store.errors import StoreUnavailableError
from store.port import Action, MoveWork, WorkState
from store.sqlite.adapter import SqliteStore
from tests.actors.gateways.fixtures import work
from tests.actors.scheduling.fixtures import LEASE_S, Scenario
from tests.actors.support import GATEWAY, OWNER, TroubledStore


@pytest.fixture
def scenario(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Scenario:
    """Both actors, started, in a process whose scheduler claims nothing by itself: its capacity is used up."""
    scenario = Scenario(runtime, store, real_store)
    scenario.start()
    return scenario


@pytest.fixture
def hints(scenario: Scenario) -> list[tuple[float, str]]:
    """The announcements from now on, with the seconds since then. The scheduler receives none of them."""
    hints: list[tuple[float, str]] = []
    began = scenario.runtime.monotonic()

    def handle(hint: WorkHint, /) -> None:
        hints.append((round(scenario.runtime.monotonic() - began, 1), hint.work_id))

    scenario.queue.subscribe([GATEWAY], handle)
    return hints


def letter(key: str, delay_s: float, state: WorkState = WorkState.DEAD) -> DeadLettered:
    """A dead letter that is due in ``delay_s``."""
    item = replace(work(), work_id=key)
    return DeadLettered(item, MoveWork(key, Action.SUBMIT, state, delay_s, 4, ()))


def test_a_dead_letter_is_reported_and_announced_when_it_is_due(
    scenario: Scenario, hints: list[tuple[float, str]]
) -> None:
    """Each is announced once, in order of due time and never earlier; a parked one is only reported."""
    for message in (letter("late", 30.0), letter("parked", 0.0, WorkState.PARKED), letter("soon", 2.0)):
        scenario.dead_letters.tell(message)
    scenario.run(100.0)
    assert scenario.heard.dead_letters == [("late", "dead"), ("parked", "parked"), ("soon", "dead")]
    assert hints == [(2.0, "soon"), (30.0, "late")]


def test_a_due_dead_letter_is_claimed(scenario: Scenario) -> None:
    """Its announcement makes the scheduler claim it, although it has no timer of its own for it."""
    [key] = scenario.queued(delay_s=1.0)
    scenario.dead_letters.tell(letter(key, 1.0))
    scenario.run(0.9)
    assert scenario.claimed() == []
    scenario.run(0.3)
    assert scenario.claimed() == [key]


def test_the_next_resends_are_timed_and_no_more(scenario: Scenario, hints: list[tuple[float, str]]) -> None:
    """However many dead letters there are, timers and memory stay bounded; the scheduler finds those left out."""
    for number in range(RESENDS_MAX + 50):
        scenario.dead_letters.tell(letter(f"w-{number:04}", 50.0 + (RESENDS_MAX + 50 - number) / 10))
        if not number % 50:
            scenario.run(0.1)
    assert len(scenario.runtime._timers) < 60
    scenario.run(300.0)
    announced = {key for _, key in hints}
    assert announced == {f"w-{number:04}" for number in range(50, RESENDS_MAX + 50)}


def test_nearer_dead_letters_do_not_pile_up_timers(scenario: Scenario, hints: list[tuple[float, str]]) -> None:
    """Each one that is due before all others replaces the timer; a far timer is never left behind."""
    for number in range(300):
        scenario.dead_letters.tell(letter(f"w-{number}", 80_000.0 - number))
        scenario.run(0.2)
    assert len(scenario.runtime._timers) < 20
    assert hints == []


def test_a_late_timer_leaves_no_second_one(scenario: Scenario, hints: list[tuple[float, str]]) -> None:
    """A timer of a predecessor, or one that fires as it is replaced, does not run on beside the present timer."""
    scenario.dead_letters.tell(letter("far", 10_000.0))
    scenario.run(1.0)
    before = len(scenario.runtime._timers)
    for _ in range(50):
        scenario.dead_letters.tell(ResendDue())
        scenario.run(0.01)
    scenario.run(2 * TIMER_MAX_S)
    assert len(scenario.runtime._timers) <= before + 1
    assert hints == []


def test_a_death_loses_timers_only(scenario: Scenario) -> None:
    """What a dead actor had timed is claimed by the scheduler, from the store."""
    [key] = scenario.queued(delay_s=TIMER_MAX_S + 1.0)
    scenario.dead_letters.tell(letter(key, TIMER_MAX_S + 1.0))
    scenario.run(0.1)
    scenario.store.inject("retry_dead", SystemExit())
    scenario.retry()
    assert scenario.dead_letters.deaths == 1
    scenario.run(TIMER_MAX_S + LEASE_S)
    assert scenario.claimed() == [key]


def test_a_dead_letter_that_kills_its_actor_is_not_reported_twice(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that fails loses one report, and no dead letter counts twice."""
    reported: list[str] = []

    def fail(item: object, _move: object) -> None:
        reported.append(str(item))
        raise SystemExit

    monkeypatch.setattr(scenario.heard, "dead_letter", fail)
    scenario.dead_letters.tell(letter("w-1", 1.0))
    scenario.run(10.0)
    assert (len(reported), scenario.dead_letters.deaths) == (1, 1)


@pytest.mark.parametrize("deaths", [1, 5])
def test_work_that_cannot_be_parked_is_given_back(
    scenario: Scenario, store: TroubledStore, caplog: pytest.LogCaptureFixture, deaths: int
) -> None:
    """Parked after one death, or given back when it kills every actor: the work does not stay leased."""
    [key] = scenario.queued(owner=OWNER)
    leased = replace(work(), work_id=key, token=1, stream=scenario.stream_of(key))
    store.inject("append", *[SystemExit()] * deaths)
    with caplog.at_level(logging.ERROR):
        scenario.dead_letters.tell(ParkWork(leased, "cannot be read"))
        scenario.run(2 * LEASE_S)
    parked = scenario.real.dead_letter("main", key)
    if deaths == 1:
        assert parked is not None
        assert parked.state is WorkState.PARKED
        assert [error.error for error in parked.item.errors] == ["cannot be read"]
    else:
        assert parked is None
        assert scenario.claimed() == [key]


def test_work_of_another_owner_is_not_parked(scenario: Scenario) -> None:
    """The token of this process is stale, so the parking stores nothing."""
    [key] = scenario.queued(owner=OWNER)
    leased = replace(work(), work_id=key, token=1, stream=scenario.stream_of(key))
    scenario.real.retire_owner(OWNER, unsent=True)
    scenario.real.register_owner("owner-2")
    (theirs,) = scenario.real.claim_work("owner-2", GATEWAY, 10)
    scenario.dead_letters.tell(ParkWork(leased, "cannot be read"))
    scenario.run(1.0)
    assert scenario.real.dead_letter("main", key) is None
    assert scenario.real.lease(key) == (theirs.token, "owner-2")


def test_a_retry_reaches_the_scheduler_although_it_died(scenario: Scenario, store: TroubledStore) -> None:
    """The operator's answer does not wait for the scheduler, and the work is claimed after its restart."""
    [key] = scenario.queued(delay_s=3_600.0)
    store.inject("claim_work", StoreUnavailableError("away"), SystemExit())
    reply = scenario.retry()
    assert reply.get(timeout=0) == 1
    scenario.run(2 * LEASE_S)
    scenario.address.tell(CapacityFree(GATEWAY))
    scenario.run(LEASE_S)
    assert key in scenario.claimed()
