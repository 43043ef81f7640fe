"""The circuit breaker under an operator's mode: forced open, forced closed, and auto again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actors.runtime.simulated import EPOCH
from tests.actors.gateways.breaker_fixtures import SLEEP_S, VOLUME, WINDOW_S, Scenario


@pytest.fixture
def scenario() -> Scenario:
    """A new breaker."""
    return Scenario()


def bring(scenario: Scenario, state: str) -> None:
    """Bring the breaker to ``state`` without a mode."""
    if state == "open":
        scenario.trip()
    elif state == "half_open":
        scenario.half_open()
    elif state == "ramp":
        scenario.recover()
    scenario.reported.clear()


STATES = ["closed", "open", "half_open", "ramp"]


@pytest.mark.parametrize("state", STATES)
def test_forced_open_admits_nothing(scenario: Scenario, state: str) -> None:
    """From any state: no call is admitted for any time, and earlier permits are invalid."""
    bring(scenario, state)
    before = scenario.breaker.admit()
    scenario.order("open")
    assert before is None or not scenario.breaker.is_valid(before)
    scenario.time += 100 * SLEEP_S
    assert (scenario.breaker.admit(), scenario.breaker.wait_s()) == (None, None)
    status = scenario.breaker.status()
    assert (status.state, status.mode, status.reopens_at) == ("open", "open", None)
    assert status.opened_at == EPOCH
    assert scenario.reported == ([] if state == "open" else ["open"])


@pytest.mark.parametrize("state", STATES)
def test_forced_closed_admits_everything(scenario: Scenario, state: str) -> None:
    """From any state and with any results, all calls are admitted; the statistics show the results."""
    bring(scenario, state)
    scenario.order("closed")
    assert scenario.reported == (["closed"] if state in {"open", "half_open"} else [])
    assert scenario.admissible() == 200
    requests = scenario.stats()[0]
    scenario.calls("-" * 100 * VOLUME)
    assert scenario.admissible() == 200
    assert scenario.breaker.wait_s() == 0.0
    status = scenario.breaker.status()
    assert (status.state, status.mode, status.opened_at) == ("closed", "closed", None)
    assert (status.requests, status.error_percent) == (requests + 100 * VOLUME, 100)


@pytest.mark.parametrize("state", STATES)
def test_after_forced_open_a_probe_goes_first(scenario: Scenario, state: str) -> None:
    """In auto again: one probe after its sleep, and slow start after that."""
    bring(scenario, state)
    scenario.order("open")
    scenario.time += SLEEP_S / 2
    scenario.order("auto")
    assert scenario.breaker.state == "open"
    assert scenario.breaker.wait_s() == SLEEP_S / 2
    scenario.time += SLEEP_S / 2
    probe = scenario.admitted()
    assert scenario.breaker.state == "half_open"
    assert scenario.breaker.admit() is None
    scenario.breaker.report(probe, healthy=True)
    assert scenario.breaker.state == "closed"
    assert scenario.admissible() == 2


def test_after_forced_closed_only_new_results_count(scenario: Scenario) -> None:
    """Failures while it was forced do not trip it in auto, and new ones do."""
    scenario.order("closed")
    scenario.calls("-" * 100)
    scenario.order("auto")
    assert (scenario.breaker.mode, scenario.stats()) == ("auto", (0, 0))
    scenario.calls("-" * (VOLUME - 1))
    assert scenario.breaker.state == "closed"
    scenario.calls("-")
    assert scenario.reported == ["open"]


@pytest.mark.parametrize("first", ["auto", "open", "closed"])
@pytest.mark.parametrize("then", ["auto", "open", "closed"])
def test_each_change_of_mode_invalidates_permits(scenario: Scenario, first: str, then: str) -> None:
    """Permits of one mode are invalid in another; repeating the mode changes nothing."""
    scenario.order("closed")
    scenario.order(first)
    permit = scenario.breaker.admit()
    scenario.order(then)
    if permit is not None:
        assert scenario.breaker.is_valid(permit) == (first == then)
        scenario.breaker.report(permit, healthy=False)
        assert scenario.stats() == ((1, 100) if first == then else (0, 0))


def test_forced_open_keeps_the_opening_time(scenario: Scenario) -> None:
    """A breaker that was open keeps its opening time, and has no reopening time."""
    scenario.trip()
    scenario.wall += timedelta(seconds=5)
    scenario.order("open")
    assert (scenario.breaker.status().opened_at, scenario.breaker.status().reopens_at) == (EPOCH, None)


def test_from_forced_open_to_forced_closed_and_back(scenario: Scenario) -> None:
    """An operator may change the mode without auto in between."""
    scenario.order("open")
    scenario.order("closed")
    scenario.calls("-" * VOLUME)
    scenario.order("open")
    assert scenario.breaker.admit() is None
    assert scenario.reported == ["open", "closed", "open"]
    scenario.time += WINDOW_S
    assert scenario.stats() == (0, 0)


def test_an_unknown_mode_is_refused(scenario: Scenario) -> None:
    """An unknown mode is refused and changes nothing."""
    with pytest.raises(ValueError, match="half_open"):
        scenario.breaker.force("half_open")
    assert scenario.breaker.mode == "auto"
