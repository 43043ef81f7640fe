"""The circuit breaker of one gateway after a recovery: calls grow in number, instead of coming all at once."""

from __future__ import annotations

import pytest

from actors.ramp import RAMP_FIRST, RAMP_MAX
from tests.actors.breakers import PERMIT_S, WINDOW_S, Scene


@pytest.fixture
def scene() -> Scene:
    """A breaker that has seen nothing yet."""
    return Scene()


def test_after_a_recovery_calls_grow_in_number(scene: Scene) -> None:
    """Calls double with each round trip, from two on, until nothing is held back any more."""
    scene.recover()
    rounds: list[int] = []
    while len(rounds) < 10:
        permits = scene.all_that_go()
        rounds.append(len(permits))
        for permit in permits:
            scene.breaker.report(permit, healthy=True)
    assert rounds[:6] == [RAMP_FIRST, 4, 8, 16, 32, RAMP_MAX]
    assert set(rounds[6:]) == {200}


def test_a_failure_during_the_ramp_halves_it(scene: Scene) -> None:
    """Fewer calls go out after a failure, never less than one, and the failure counts in the window besides."""
    scene.recover()
    scene.calls("+" * 10)
    assert scene.figures() == (10, 0)
    for room in (6, 3, 1, 1):
        scene.calls("-")
        assert scene.room() == room
    assert scene.figures() == (14, 28)


def test_the_ramp_ends_with_an_answer_after_a_quiet_window(scene: Scene) -> None:
    """When none failed for a whole window, the next healthy answer lifts the limit; a failure starts the wait anew."""
    scene.recover()
    scene.time += WINDOW_S - 0.25
    scene.calls("-")
    scene.time += WINDOW_S - 0.25
    scene.calls("+")
    assert scene.room() == 2
    scene.time += 0.25
    assert scene.room() == 2
    scene.calls("+")
    assert scene.room() == 200


def test_a_provider_that_says_nothing_gets_no_stampede(scene: Scene) -> None:
    """Permits that expire make room for as many others, and never lift the limit however long that goes on."""
    scene.recover()
    for _ in range(50):
        assert len(scene.all_that_go()) == RAMP_FIRST
        assert scene.breaker.wait_s() == PERMIT_S
        scene.time += PERMIT_S
        assert scene.breaker.wait_s() == 0.0
    scene.calls("+")
    assert len(scene.all_that_go()) == RAMP_FIRST + 1


def test_how_long_to_wait_for_room_on_the_ramp(scene: Scene) -> None:
    """When more are out than may be, those of them that must expire first are waited for."""
    scene.recover()
    scene.calls("+")
    first = scene.admitted()
    for _ in range(RAMP_FIRST):
        scene.time += 1.0
        scene.admitted()
    assert scene.breaker.wait_s() == PERMIT_S - 2.0
    scene.breaker.report(first, healthy=False)
    assert scene.breaker.admit() is None  # one may be out, and two are
    assert scene.breaker.wait_s() == PERMIT_S
