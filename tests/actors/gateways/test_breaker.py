"""The circuit breaker of one gateway: when calls are admitted, and which results count."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actors.runtime.simulated import EPOCH
from tests.actors.gateways.breaker_fixtures import PERMIT_S, SLEEP_S, VOLUME, Scenario


@pytest.fixture
def scenario() -> Scenario:
    """A new breaker."""
    return Scenario()


@pytest.mark.parametrize(
    ("results", "opens"),
    [
        ("---", False),  # too few for a decision
        ("----", True),
        ("+++-", False),
        ("--++", True),  # the call that makes the volume full may be a healthy one
        ("++--", True),
        ("+++---", True),
        ("+++--", False),
        ("-+++" * 50, False),
    ],
)
def test_it_opens_by_the_share_of_failures(scenario: Scenario, results: str, *, opens: bool) -> None:
    """At least half of enough calls in the window must fail; their order does not matter."""
    scenario.calls(results)
    assert scenario.breaker.state == ("open" if opens else "closed")
    assert scenario.reported == ["open"] * opens


@pytest.mark.parametrize(
    ("error_percent", "results", "opens"),
    [
        (33.3, "++-++-", True),
        (33.4, "++-++-", False),
        (100.0, "-" * 3 + "+", False),
        (100.0, "-" * 4, True),
        (1.0, "+" * 99 + "-", True),
        (1.0, "+" * 100 + "-", False),
    ],
)
def test_the_percentage_need_not_be_whole(error_percent: float, results: str, *, opens: bool) -> None:
    """The limit is compared exactly, not rounded to whole percents."""
    scenario = Scenario(error_percent)
    scenario.calls(results)
    assert (scenario.breaker.state == "open") == opens


def test_what_is_older_than_the_window_does_not_count(scenario: Scenario) -> None:
    """Failures count together only within one window."""
    for _ in range(20):
        scenario.calls("-")
        scenario.time += 3.5
    assert scenario.breaker.state == "closed"


def test_the_window_forgets_part_by_part(scenario: Scenario) -> None:
    """The statistics cover the last ten parts of the window exactly, down to zero when the last is too old."""
    seen = []
    for results in ("++-", "+", "-+"):
        scenario.calls(results)
        seen.append(scenario.stats())
        scenario.time += 1.0
    for _ in range(10):
        seen.append(scenario.stats())
        scenario.time += 1.0
    assert seen == [(3, 33), (4, 25), (6, 33)] + [(6, 33)] * 7 + [(3, 33), (2, 50), (0, 0)]


def test_nothing_goes_out_while_it_is_open(scenario: Scenario) -> None:
    """While it is open, no call goes out until the exact end of the sleep."""
    scenario.trip()
    assert scenario.breaker.admit() is None
    scenario.time = SLEEP_S - 0.25
    assert scenario.breaker.probe_wanted() is None
    assert scenario.breaker.admit() is None
    assert scenario.breaker.wait_s() == 0.25
    scenario.time = SLEEP_S
    assert scenario.breaker.wait_s() == 0.0
    assert scenario.breaker.admit() is None, "the probe is not granted yet"
    scenario.request_probe()
    assert scenario.breaker.admit() is not None


def test_one_probe_goes_out_half_open(scenario: Scenario) -> None:
    """After the sleep exactly one call goes out, and its success closes the breaker."""
    probe = scenario.half_open()
    assert scenario.breaker.state == "half_open"
    assert [scenario.breaker.admit() for _ in range(5)] == [None] * 5
    scenario.breaker.report(probe, healthy=True)
    assert scenario.reported == ["open", "half_open", "closed"]
    assert scenario.stats() == (0, 0)


def test_a_probe_that_fails_opens_it_again(scenario: Scenario) -> None:
    """A failed probe starts another whole sleep."""
    scenario.breaker.report(scenario.half_open(), healthy=False)
    assert scenario.breaker.state == "open"
    assert scenario.breaker.wait_s() == SLEEP_S
    assert scenario.reported == ["open", "half_open", "open"]


def test_a_probe_that_never_ends_has_failed(scenario: Scenario) -> None:
    """The breaker opens when the probe's permit expires, for a whole sleep from then on, however late it is noticed."""
    probe = scenario.half_open()
    assert scenario.breaker.wait_s() == PERMIT_S + SLEEP_S
    scenario.time += PERMIT_S - 0.25
    assert scenario.breaker.is_valid(probe)
    scenario.time += 0.25 + SLEEP_S / 2
    scenario.wall += timedelta(hours=1)
    assert not scenario.breaker.is_valid(probe)
    assert scenario.reported == ["open", "half_open", "open"]
    assert scenario.breaker.status().opened_at == scenario.wall - timedelta(seconds=SLEEP_S / 2)
    scenario.breaker.report(probe, healthy=True)
    assert scenario.breaker.wait_s() == SLEEP_S / 2
    scenario.request_probe()
    assert scenario.breaker.admit() is None
    scenario.time += SLEEP_S / 2
    assert scenario.admitted() > probe


def test_a_probe_that_was_not_made_is_granted_again(scenario: Scenario) -> None:
    """A withdrawn permit has no effect on the breaker, and another is granted at once."""
    scenario.breaker.withdraw(scenario.half_open())
    assert scenario.breaker.state == "half_open"
    assert scenario.breaker.wait_s() == 0.0
    scenario.calls("+")
    assert scenario.breaker.state == "closed"


@pytest.mark.parametrize("healthy", [True, False])
def test_results_of_an_older_generation_are_ignored(scenario: Scenario, *, healthy: bool) -> None:
    """Results of calls admitted before a transition count neither as successes nor as failures."""
    old = scenario.admitted()
    scenario.trip()
    scenario.breaker.report(old, healthy=healthy)
    assert scenario.breaker.state == "open"
    scenario.time = SLEEP_S
    probe = scenario.admitted()
    scenario.breaker.report(old, healthy=healthy)
    scenario.breaker.withdraw(old)
    assert scenario.breaker.state == "half_open"
    assert scenario.breaker.admit() is None
    scenario.breaker.report(probe, healthy=True)
    for _ in range(VOLUME):
        scenario.breaker.report(old, healthy=False)
    assert scenario.breaker.state == "closed"
    assert scenario.stats() == (0, 0)


@pytest.mark.parametrize("end", ["reported", "withdrawn", "expired"])
def test_a_permit_is_valid_for_one_report(scenario: Scenario, end: str) -> None:
    """After its report, withdrawal or expiry a permit is invalid and does not count."""
    permit = scenario.admitted()
    assert scenario.breaker.is_valid(permit)
    if end == "reported":
        scenario.breaker.report(permit, healthy=True)
    elif end == "withdrawn":
        scenario.breaker.withdraw(permit)
    else:
        scenario.time += PERMIT_S
    before = scenario.stats()
    assert not scenario.breaker.is_valid(permit)
    scenario.breaker.report(permit, healthy=False)
    assert scenario.stats() == before


def test_operators_get_the_times_of_an_open_breaker(scenario: Scenario) -> None:
    """The status has the state, its times while open, and the statistics that led there."""
    assert scenario.breaker.status().opened_at is None
    scenario.calls("-+--")
    status = scenario.breaker.status()
    assert (status.state, status.mode, status.requests, status.error_percent) == ("open", "auto", 4, 75)
    assert (status.opened_at, status.reopens_at) == (EPOCH, EPOCH + timedelta(seconds=SLEEP_S))
    scenario.time = SLEEP_S
    scenario.calls("+")
    status = scenario.breaker.status()
    assert (status.state, status.opened_at, status.reopens_at) == ("closed", None, None)


@pytest.mark.parametrize("jump", [timedelta(days=365), -timedelta(days=365)])
def test_the_wall_clock_decides_nothing(scenario: Scenario, jump: timedelta) -> None:
    """However the wall clock jumps, the sleep has its full length."""
    scenario.trip()
    scenario.wall += jump
    scenario.request_probe()
    assert scenario.breaker.admit() is None
    assert scenario.breaker.wait_s() == SLEEP_S
    scenario.time = SLEEP_S
    scenario.admitted()
