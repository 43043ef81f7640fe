"""The circuit breaker of one gateway: when calls are let through, and whose results count."""

from __future__ import annotations

import pytest

from actors.breaker import GatewayBreaker
from actors.runtime.simulated import EPOCH

FAILURES = 3
SLEEP_S = 10.0


class Scene:
    """A breaker, its clock, and the states that it told of."""

    def __init__(self) -> None:
        self.time = 0.0
        self.told: list[str] = []
        self.breaker = GatewayBreaker(
            failures=FAILURES,
            sleep_s=SLEEP_S,
            window_s=10.0,
            monotonic=lambda: self.time,
            now=lambda: EPOCH,
            changed=self.told.append,
        )

    def call(self, *, healthy: bool) -> bool:
        """Make one call if it is let through; whether it was."""
        permit = self.breaker.admit()
        if permit is not None:
            self.breaker.report(permit, healthy=healthy)
        return permit is not None

    def trip(self) -> None:
        """As many failures as it takes."""
        for _ in range(FAILURES):
            assert self.call(healthy=False)


@pytest.fixture
def scene() -> Scene:
    """A breaker that has seen nothing yet."""
    return Scene()


def test_it_opens_after_failures_in_a_row(scene: Scene) -> None:
    """So many technical failures in a row open it, and a healthy answer in between starts the count anew."""
    for _ in range(FAILURES - 1):
        scene.call(healthy=False)
    scene.call(healthy=True)
    for _ in range(FAILURES - 1):
        scene.call(healthy=False)
    assert scene.breaker.state == "closed"
    scene.call(healthy=False)
    assert scene.breaker.state == "open"
    assert scene.told == ["open"]


def test_nothing_goes_out_while_it_is_open(scene: Scene) -> None:
    """Open means no call, until its sleep is over to the last moment."""
    scene.trip()
    assert scene.breaker.admit() is None
    scene.time = SLEEP_S - 0.001
    assert scene.breaker.admit() is None
    assert scene.breaker.wait_s() == pytest.approx(0.001)
    scene.time = SLEEP_S
    assert scene.breaker.admit() is not None


def test_one_probe_goes_out_half_open(scene: Scene) -> None:
    """After the sleep exactly one call goes out, and the next only after its result."""
    scene.trip()
    scene.time = SLEEP_S
    probe = scene.breaker.admit()
    assert probe is not None
    assert scene.breaker.state == "half_open"
    assert [scene.breaker.admit() for _ in range(5)] == [None] * 5
    scene.breaker.report(probe, healthy=True)
    assert scene.breaker.state == "closed"
    assert scene.call(healthy=True)


def test_a_probe_that_fails_opens_it_again(scene: Scene) -> None:
    """A failed probe starts another whole sleep."""
    scene.trip()
    scene.time = SLEEP_S
    assert scene.call(healthy=False)
    assert scene.breaker.state == "open"
    scene.time = 2 * SLEEP_S - 0.001
    assert scene.breaker.admit() is None
    scene.time = 2 * SLEEP_S
    assert scene.call(healthy=True)
    assert scene.told == ["open", "half_open", "open", "half_open", "closed"]


@pytest.mark.parametrize("healthy", [True, False])
def test_results_of_an_older_generation_are_ignored(scene: Scene, *, healthy: bool) -> None:
    """What was admitted before the breaker turned says nothing about now, neither good nor bad."""
    old = scene.breaker.admit()
    assert old is not None
    scene.trip()
    scene.breaker.report(old, healthy=healthy)
    assert scene.breaker.state == "open"
    scene.time = SLEEP_S
    probe = scene.breaker.admit()
    assert probe is not None
    scene.breaker.report(old, healthy=healthy)
    assert scene.breaker.state == "half_open"
    scene.breaker.report(probe, healthy=True)
    for _ in range(FAILURES):
        scene.breaker.report(old, healthy=False)
    assert scene.breaker.state == "closed"


def test_failures_before_it_opened_do_not_count_after(scene: Scene) -> None:
    """Closed again, it needs as many failures as ever to open."""
    scene.trip()
    scene.time = SLEEP_S
    assert scene.call(healthy=True)
    for _ in range(FAILURES - 1):
        scene.call(healthy=False)
    assert scene.breaker.state == "closed"


def test_operators_see_since_when_and_until_when_it_is_open(scene: Scene) -> None:
    """The status tells the state, and its times while it is open."""
    assert scene.breaker.status().opened_at is None
    scene.trip()
    status = scene.breaker.status()
    assert (status.state, status.opened_at, status.mode) == ("open", EPOCH, "auto")
    assert status.reopens_at is not None
    assert (status.reopens_at - EPOCH).total_seconds() == SLEEP_S
    scene.time = SLEEP_S
    scene.call(healthy=True)
    assert (scene.breaker.status().state, scene.breaker.status().reopens_at) == ("closed", None)


def test_operators_are_told_how_the_calls_of_the_window_went() -> None:
    """The figures count every call of the last seconds, and none that is older."""
    it = Scene()
    for healthy in (True, True, True, False):
        it.call(healthy=healthy)
    assert (it.breaker.status().requests, it.breaker.status().error_percent) == (4, 25)
    it.time += 10.1
    assert (it.breaker.status().requests, it.breaker.status().error_percent) == (0, 0)
