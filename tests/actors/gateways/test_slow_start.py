"""The circuit breaker of one gateway after a recovery: calls are admitted in growing numbers, not all at once."""

from __future__ import annotations

import pytest

from actors.gateways.slow_start import SLOW_START_FIRST, SLOW_START_MAX
from tests.actors.gateways.breaker_fixtures import PERMIT_S, WINDOW_S, Scenario


@pytest.fixture
def scenario() -> Scenario:
    """A new breaker."""
    return Scenario()


def test_after_a_recovery_calls_grow_in_number(scenario: Scenario) -> None:
    """Calls double with each round trip, from two on, until the limit is lifted."""
    scenario.recover()
    rounds: list[int] = []
    while len(rounds) < 10:
        permits = scenario.all_admitted()
        rounds.append(len(permits))
        for permit in permits:
            scenario.breaker.report(permit, healthy=True)
    assert rounds[:6] == [SLOW_START_FIRST, 4, 8, 16, 32, SLOW_START_MAX]
    assert set(rounds[6:]) == {200}


def test_a_failure_halves_the_limit(scenario: Scenario) -> None:
    """A failure halves the limit, never below one, and counts in the window as well."""
    scenario.recover()
    scenario.calls("+" * 10)
    assert scenario.stats() == (10, 0)
    for admissible in (6, 3, 1, 1):
        scenario.calls("-")
        assert scenario.admissible() == admissible
    assert scenario.stats() == (14, 28)


def test_it_ends_with_an_answer_after_a_quiet_window(scenario: Scenario) -> None:
    """When none failed for a whole window, the next healthy answer lifts the limit; a failure starts the wait again."""
    scenario.recover()
    scenario.time += WINDOW_S - 0.25
    scenario.calls("-")
    scenario.time += WINDOW_S - 0.25
    scenario.calls("+")
    assert scenario.admissible() == 2
    scenario.time += 0.25
    assert scenario.admissible() == 2
    scenario.calls("+")
    assert scenario.admissible() == 200


def test_a_provider_without_answers_gets_no_burst_of_calls(scenario: Scenario) -> None:
    """Expired permits are replaced by as many others, and never lift the limit."""
    scenario.recover()
    for _ in range(50):
        assert len(scenario.all_admitted()) == SLOW_START_FIRST
        assert scenario.breaker.wait_s() == PERMIT_S
        scenario.time += PERMIT_S
        assert scenario.breaker.wait_s() == 0.0
    scenario.calls("+")
    assert len(scenario.all_admitted()) == SLOW_START_FIRST + 1


def test_how_long_to_wait_above_the_limit(scenario: Scenario) -> None:
    """Above the limit, the wait ends when enough of the oldest permits expire."""
    scenario.recover()
    scenario.calls("+")
    first = scenario.admitted()
    for _ in range(SLOW_START_FIRST):
        scenario.time += 1.0
        scenario.admitted()
    assert scenario.breaker.wait_s() == PERMIT_S - 2.0
    scenario.breaker.report(first, healthy=False)
    assert scenario.breaker.admit() is None  # one may be out, and two are
    assert scenario.breaker.wait_s() == PERMIT_S
