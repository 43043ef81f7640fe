"""The circuit breaker and its shared record: what it follows, and what it records."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actors.gateways.breaker import RESEND_S
from actors.gateways.slow_start import SLOW_START_FIRST
from actors.runtime.simulated import EPOCH
from store.port import BreakerRecord
from tests.actors.gateways.breaker_fixtures import ME, PERMIT_S, SLEEP_S, VOLUME, Scenario

GATEWAY = "gatewayA"


@pytest.fixture
def scenario() -> Scenario:
    """A new breaker."""
    return Scenario()


@pytest.mark.parametrize("state", ["closed", "open", "half_open"])
def test_a_record_that_is_not_newer_changes_nothing(scenario: Scenario, state: str) -> None:
    """A record may arrive late or twice: the epoch identifies the newest."""
    probe = scenario.half_open()
    prober = ME if state == "half_open" else None
    for epoch in (1, 2):
        scenario.breaker.follow(BreakerRecord(GATEWAY, epoch, state, 0.0, prober, PERMIT_S), scenario.time)
        assert scenario.breaker.is_valid(probe)
    scenario.breaker.report(probe, healthy=False)
    scenario.share()
    scenario.breaker.follow(BreakerRecord(GATEWAY, 2, state, 0.0, prober, PERMIT_S), scenario.time)
    assert scenario.reported == ["open", "half_open", "open"]


def test_an_opening_is_followed_for_the_rest_of_its_sleep(scenario: Scenario) -> None:
    """Running calls do not count any more; operators get the opening time."""
    permit = scenario.admitted()
    scenario.wall += timedelta(seconds=5)
    scenario.breaker.follow(BreakerRecord(GATEWAY, 7, "open", 5.0), scenario.time)
    assert not scenario.breaker.is_valid(permit)
    assert scenario.breaker.admit() is None
    assert scenario.breaker.wait_s() == SLEEP_S - 5.0
    status = scenario.breaker.status()
    assert (status.opened_at, status.reopens_at) == (EPOCH, EPOCH + timedelta(seconds=SLEEP_S))
    assert (scenario.reported, scenario.breaker.pending_transition_s()) == (["open"], None)
    scenario.time += SLEEP_S - 5.0
    assert scenario.breaker.probe_wanted() == 7


@pytest.mark.parametrize("age_s", [SLEEP_S, 1e6])
def test_an_opening_of_long_ago_is_probed_at_once(scenario: Scenario, age_s: float) -> None:
    """No process had work during the sleep, so none probed."""
    scenario.breaker.follow(BreakerRecord(GATEWAY, 7, "open", age_s), scenario.time)
    assert scenario.breaker.wait_s() == 0.0
    assert scenario.breaker.probe_wanted() == 7


def test_a_closing_is_followed_with_few_calls_at_first(scenario: Scenario) -> None:
    """Slow start applies without an own probe as well, but not to a breaker that stayed closed."""
    scenario.others(closed=False)
    scenario.others(closed=True)
    assert scenario.reported == ["open", "closed"]
    assert scenario.admissible() == SLOW_START_FIRST
    never_heard = Scenario()
    never_heard.calls("+-")
    permit = never_heard.admitted()
    never_heard.breaker.follow(BreakerRecord(GATEWAY, 9, "closed"), 0.0)
    assert never_heard.breaker.is_valid(permit)
    assert never_heard.stats() == (2, 50)
    assert never_heard.admissible() == 200


def test_anothers_probe_is_an_open_breaker_here(scenario: Scenario) -> None:
    """This holds even if the opening was not read. A whole sleep after that permit expired, it requests the probe."""
    scenario.breaker.follow(BreakerRecord(GATEWAY, 8, "half_open", 1.0, "you", PERMIT_S - 1.0), scenario.time)
    assert (scenario.reported, scenario.breaker.admit()) == (["open"], None)
    assert scenario.breaker.wait_s() == PERMIT_S - 1.0 + SLEEP_S
    scenario.time += PERMIT_S - 1.0 + SLEEP_S
    assert scenario.breaker.probe_wanted() == 8


def test_a_lost_grant_of_the_probe_is_found_in_the_record(scenario: Scenario) -> None:
    """The record has this process's id: it may probe while the permit is valid."""
    scenario.trip()
    scenario.time += SLEEP_S
    scenario.record.time = scenario.time
    scenario.record.take(1, ME, sleep_s=SLEEP_S, permit_s=PERMIT_S)
    scenario.time += 2.0
    scenario.record.time = scenario.time
    scenario.breaker.follow(scenario.record.record(), scenario.time)
    probe = scenario.admitted()
    assert probe.until == scenario.time + PERMIT_S - 2.0
    scenario.time += PERMIT_S - 2.0
    assert not scenario.breaker.is_valid(probe)


@pytest.mark.parametrize("late_s", [PERMIT_S - 0.25, PERMIT_S, 100.0])
def test_a_permit_counts_from_its_request(scenario: Scenario, late_s: float) -> None:
    """The process may have been paused: it probes in the time left, or has failed if none is left."""
    scenario.trip()
    scenario.time += SLEEP_S
    asked_at = scenario.time
    granted = BreakerRecord(GATEWAY, 2, "half_open", 0.0, ME, PERMIT_S)
    scenario.time += late_s
    scenario.breaker.follow(granted, asked_at)
    permit = scenario.breaker.admit()
    if late_s < PERMIT_S:
        assert permit is not None
        assert permit.until == asked_at + PERMIT_S
    else:
        assert (permit, scenario.reported) == (None, ["open"])


def test_a_probe_that_is_not_used_in_its_time_is_lost(scenario: Scenario) -> None:
    """Another process may have the probe then, without a message to this one."""
    scenario.breaker.withdraw(scenario.half_open())
    scenario.time += PERMIT_S
    assert scenario.breaker.admit() is None
    assert scenario.breaker.state == "open"
    assert scenario.breaker.wait_s() == SLEEP_S


@pytest.mark.parametrize("healthy", [True, False])
def test_of_two_changes_the_winner_is_followed(scenario: Scenario, *, healthy: bool) -> None:
    """The record has moved on, so this process's own transition is dropped."""
    probe = scenario.half_open()
    scenario.record.time = scenario.time
    scenario.record.turn(2, "open" if healthy else "closed")  # by an operator, for example
    scenario.breaker.report(probe, healthy=healthy)
    scenario.share()
    assert scenario.breaker.state == scenario.record.state
    assert scenario.breaker.pending_transition_s() is None
    assert scenario.record.epoch == 3


def test_without_the_store_it_opens_alone_and_repeats_the_transition(scenario: Scenario) -> None:
    """It does not probe, because other processes could not read that."""
    scenario.sharing = False
    scenario.trip()
    for _ in range(20):
        assert scenario.breaker.pending_transition_s() == RESEND_S
        assert scenario.breaker.pending_transition() is None
        scenario.time += RESEND_S
        assert scenario.breaker.probe_wanted() is None
        assert scenario.breaker.pending_transition() == (0, "open")
    assert scenario.breaker.admit() is None
    scenario.sharing = True
    scenario.time += RESEND_S
    scenario.share()
    assert scenario.breaker.pending_transition_s() is None
    assert scenario.breaker.wait_s() == SLEEP_S, "the sleep starts when the record has the opening"


def test_a_request_is_repeated_after_a_while(scenario: Scenario) -> None:
    """Its answer may be under way, or lost with an actor."""
    scenario.trip()
    scenario.time += SLEEP_S
    assert [scenario.breaker.probe_wanted() for _ in range(3)] == [1, None, None]
    assert scenario.breaker.wait_s() == RESEND_S
    scenario.time += RESEND_S
    assert [scenario.breaker.probe_wanted() for _ in range(3)] == [1, None, None]


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_while_it_is_forced_records_are_only_kept(scenario: Scenario, mode: str) -> None:
    """They are its state when it returns to auto; until then nothing is requested or recorded."""
    scenario.order(mode)
    scenario.others(closed=mode == "open")
    assert scenario.breaker.state == mode
    scenario.calls("-" * VOLUME if mode == "closed" else "")
    scenario.time += 100 * SLEEP_S
    assert (scenario.breaker.probe_wanted(), scenario.breaker.pending_transition()) == (None, None)
    scenario.breaker.force("auto")
    assert scenario.breaker.state == ("closed" if mode == "open" else "open")


def test_a_mode_drops_a_pending_transition(scenario: Scenario) -> None:
    """The operator's mode replaces the transition, which is not recorded later."""
    scenario.sharing = False
    scenario.trip()
    scenario.order("closed")
    scenario.order("auto")
    assert (scenario.breaker.state, scenario.breaker.pending_transition_s()) == ("closed", None)


def test_a_probe_from_before_a_mode_is_none_afterwards(scenario: Scenario) -> None:
    """Its permit is invalid; every process, this one included, waits until it would have expired."""
    probe = scenario.half_open()
    scenario.breaker.force("open")
    scenario.breaker.force("auto")
    assert not scenario.breaker.is_valid(probe)
    assert (scenario.breaker.admit(), scenario.breaker.wait_s()) == (None, PERMIT_S + SLEEP_S)
