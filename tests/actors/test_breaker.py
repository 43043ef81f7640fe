"""The circuit breaker of one gateway: when calls are let through, and whose results count."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actors.runtime.simulated import EPOCH
from tests.actors.breakers import PERMIT_S, SLEEP_S, VOLUME, Scene


@pytest.fixture
def scene() -> Scene:
    """A breaker that has seen nothing yet."""
    return Scene()


@pytest.mark.parametrize(
    ("results", "opens"),
    [
        ("---", False),  # too few to judge by
        ("----", True),
        ("+++-", False),
        ("--++", True),  # the call that makes the volume full may be a healthy one
        ("++--", True),
        ("+++---", True),
        ("+++--", False),
        ("-+++" * 50, False),
    ],
)
def test_it_opens_by_the_share_of_failures(scene: Scene, results: str, *, opens: bool) -> None:
    """Of enough calls in the window at least half must fail; neither their order nor their run matters."""
    scene.calls(results)
    assert scene.breaker.state == ("open" if opens else "closed")
    assert scene.told == ["open"] * opens


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
    scene = Scene(error_percent)
    scene.calls(results)
    assert (scene.breaker.state == "open") == opens


def test_what_is_older_than_the_window_does_not_count(scene: Scene) -> None:
    """Failures of which never as many as it takes fall into one window do not come together."""
    for _ in range(20):
        scene.calls("-")
        scene.time += 3.5
    assert scene.breaker.state == "closed"


def test_the_window_forgets_part_by_part(scene: Scene) -> None:
    """The figures are of the last ten parts of the window: exact, and down to nothing once the last is too old."""
    seen = []
    for results in ("++-", "+", "-+"):
        scene.calls(results)
        seen.append(scene.figures())
        scene.time += 1.0
    for _ in range(10):
        seen.append(scene.figures())
        scene.time += 1.0
    assert seen == [(3, 33), (4, 25), (6, 33)] + [(6, 33)] * 7 + [(3, 33), (2, 50), (0, 0)]


def test_nothing_goes_out_while_it_is_open(scene: Scene) -> None:
    """Open means no call, until its sleep is over to the last moment."""
    scene.trip()
    assert scene.breaker.admit() is None
    scene.time = SLEEP_S - 0.25
    assert scene.breaker.probe_wanted() is None
    assert scene.breaker.admit() is None
    assert scene.breaker.wait_s() == 0.25
    scene.time = SLEEP_S
    assert scene.breaker.wait_s() == 0.0
    assert scene.breaker.admit() is None, "it has not got the probe yet"
    scene.ask()
    assert scene.breaker.admit() is not None


def test_one_probe_goes_out_half_open(scene: Scene) -> None:
    """After the sleep exactly one call goes out, and its success closes the breaker."""
    probe = scene.half_open()
    assert scene.breaker.state == "half_open"
    assert [scene.breaker.admit() for _ in range(5)] == [None] * 5
    scene.breaker.report(probe, healthy=True)
    assert scene.told == ["open", "half_open", "closed"]
    assert scene.figures() == (0, 0)


def test_a_probe_that_fails_opens_it_again(scene: Scene) -> None:
    """A failed probe starts another whole sleep."""
    scene.breaker.report(scene.half_open(), healthy=False)
    assert scene.breaker.state == "open"
    assert scene.breaker.wait_s() == SLEEP_S
    assert scene.told == ["open", "half_open", "open"]


def test_a_probe_that_never_ends_has_failed(scene: Scene) -> None:
    """The breaker opens when the probe's permit expires, for a whole sleep from then on, however late it is noticed."""
    probe = scene.half_open()
    assert scene.breaker.wait_s() == PERMIT_S + SLEEP_S
    scene.time += PERMIT_S - 0.25
    assert scene.breaker.holds(probe)
    scene.time += 0.25 + SLEEP_S / 2
    scene.wall += timedelta(hours=1)
    assert not scene.breaker.holds(probe)
    assert scene.told == ["open", "half_open", "open"]
    assert scene.breaker.status().opened_at == scene.wall - timedelta(seconds=SLEEP_S / 2)
    scene.breaker.report(probe, healthy=True)
    assert scene.breaker.wait_s() == SLEEP_S / 2
    scene.ask()
    assert scene.breaker.admit() is None
    scene.time += SLEEP_S / 2
    assert scene.admitted() > probe


def test_a_probe_that_never_went_out_is_given_anew(scene: Scene) -> None:
    """A permit that is given back says nothing of the gateway, and is another's at once."""
    scene.breaker.withdraw(scene.half_open())
    assert scene.breaker.state == "half_open"
    assert scene.breaker.wait_s() == 0.0
    scene.calls("+")
    assert scene.breaker.state == "closed"


@pytest.mark.parametrize("healthy", [True, False])
def test_results_of_an_older_generation_are_ignored(scene: Scene, *, healthy: bool) -> None:
    """What was admitted before the breaker turned says nothing about now, neither good nor bad."""
    old = scene.admitted()
    scene.trip()
    scene.breaker.report(old, healthy=healthy)
    assert scene.breaker.state == "open"
    scene.time = SLEEP_S
    probe = scene.admitted()
    scene.breaker.report(old, healthy=healthy)
    scene.breaker.withdraw(old)
    assert scene.breaker.state == "half_open"
    assert scene.breaker.admit() is None
    scene.breaker.report(probe, healthy=True)
    for _ in range(VOLUME):
        scene.breaker.report(old, healthy=False)
    assert scene.breaker.state == "closed"
    assert scene.figures() == (0, 0)


@pytest.mark.parametrize("end", ["reported", "withdrawn", "expired"])
def test_a_permit_is_good_for_one_report_in_its_time(scene: Scene, end: str) -> None:
    """After a report, after being given back and after its time a permit neither holds nor counts any more."""
    permit = scene.admitted()
    assert scene.breaker.holds(permit)
    if end == "reported":
        scene.breaker.report(permit, healthy=True)
    elif end == "withdrawn":
        scene.breaker.withdraw(permit)
    else:
        scene.time += PERMIT_S
    before = scene.figures()
    assert not scene.breaker.holds(permit)
    scene.breaker.report(permit, healthy=False)
    assert scene.figures() == before


def test_operators_see_since_when_and_until_when_it_is_open(scene: Scene) -> None:
    """The status tells the state, its times while it is open, and the figures that led there."""
    assert scene.breaker.status().opened_at is None
    scene.calls("-+--")
    status = scene.breaker.status()
    assert (status.state, status.mode, status.requests, status.error_percent) == ("open", "auto", 4, 75)
    assert (status.opened_at, status.reopens_at) == (EPOCH, EPOCH + timedelta(seconds=SLEEP_S))
    scene.time = SLEEP_S
    scene.calls("+")
    status = scene.breaker.status()
    assert (status.state, status.opened_at, status.reopens_at) == ("closed", None, None)


@pytest.mark.parametrize("jump", [timedelta(days=365), -timedelta(days=365)])
def test_the_wall_clock_decides_nothing(scene: Scene, jump: timedelta) -> None:
    """However it jumps, the sleep lasts as long as it should."""
    scene.trip()
    scene.wall += jump
    scene.ask()
    assert scene.breaker.admit() is None
    assert scene.breaker.wait_s() == SLEEP_S
    scene.time = SLEEP_S
    scene.admitted()
