"""The circuit breaker of one gateway in the hands of a person: forced open, forced closed, and left to itself again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actors.runtime.simulated import EPOCH
from tests.actors.breakers import SLEEP_S, VOLUME, WINDOW_S, Scene


@pytest.fixture
def scene() -> Scene:
    """A breaker that has seen nothing yet."""
    return Scene()


def bring(scene: Scene, state: str) -> None:
    """Have the breaker in ``state`` by itself."""
    if state == "open":
        scene.trip()
    elif state == "half_open":
        scene.half_open()
    elif state == "ramp":
        scene.recover()
    scene.told.clear()


STATES = ["closed", "open", "half_open", "ramp"]


@pytest.mark.parametrize("state", STATES)
def test_forced_open_lets_nothing_through(scene: Scene, state: str) -> None:
    """Whatever it was before, nothing goes out, no time ends that, and what was admitted before must not go out."""
    bring(scene, state)
    before = scene.breaker.admit()
    scene.order("open")
    assert before is None or not scene.breaker.holds(before)
    scene.time += 100 * SLEEP_S
    assert (scene.breaker.admit(), scene.breaker.wait_s()) == (None, None)
    status = scene.breaker.status()
    assert (status.state, status.mode, status.reopens_at) == ("open", "open", None)
    assert status.opened_at == EPOCH
    assert scene.told == ([] if state == "open" else ["open"])


@pytest.mark.parametrize("state", STATES)
def test_forced_closed_lets_everything_through(scene: Scene, state: str) -> None:
    """Whatever it was before and whatever the calls come to, all go out; the figures tell how they go."""
    bring(scene, state)
    scene.order("closed")
    assert scene.told == (["closed"] if state in {"open", "half_open"} else [])
    assert scene.room() == 200
    requests = scene.figures()[0]
    scene.calls("-" * 100 * VOLUME)
    assert scene.room() == 200
    assert scene.breaker.wait_s() == 0.0
    status = scene.breaker.status()
    assert (status.state, status.mode, status.opened_at) == ("closed", "closed", None)
    assert (status.requests, status.error_percent) == (requests + 100 * VOLUME, 100)


@pytest.mark.parametrize("state", STATES)
def test_after_forced_open_a_probe_goes_first(scene: Scene, state: str) -> None:
    """Left to itself again it does not trust the gateway: one probe, once it has slept, and a ramp after that."""
    bring(scene, state)
    scene.order("open")
    scene.time += SLEEP_S / 2
    scene.order("auto")
    assert scene.breaker.state == "open"
    assert scene.breaker.wait_s() == SLEEP_S / 2
    scene.time += SLEEP_S / 2
    probe = scene.admitted()
    assert scene.breaker.state == "half_open"
    assert scene.breaker.admit() is None
    scene.breaker.report(probe, healthy=True)
    assert scene.breaker.state == "closed"
    assert scene.room() == 2


def test_after_forced_closed_it_judges_by_what_comes(scene: Scene) -> None:
    """Failures of the time when it was forced do not trip it once it is left to itself, and new ones do."""
    scene.order("closed")
    scene.calls("-" * 100)
    scene.order("auto")
    assert (scene.breaker.mode, scene.figures()) == ("auto", (0, 0))
    scene.calls("-" * (VOLUME - 1))
    assert scene.breaker.state == "closed"
    scene.calls("-")
    assert scene.told == ["open"]


@pytest.mark.parametrize("first", ["auto", "open", "closed"])
@pytest.mark.parametrize("then", ["auto", "open", "closed"])
def test_each_change_of_mode_makes_older_permits_void(scene: Scene, first: str, then: str) -> None:
    """What was admitted in one mode does not count in another; the same mode once more changes nothing."""
    scene.order("closed")
    scene.order(first)
    permit = scene.breaker.admit()
    scene.order(then)
    if permit is not None:
        assert scene.breaker.holds(permit) == (first == then)
        scene.breaker.report(permit, healthy=False)
        assert scene.figures() == ((1, 100) if first == then else (0, 0))


def test_forced_open_does_not_change_since_when_it_is_open(scene: Scene) -> None:
    """It was open already: operators still see since when, and no longer until when."""
    scene.trip()
    scene.wall += timedelta(seconds=5)
    scene.order("open")
    assert (scene.breaker.status().opened_at, scene.breaker.status().reopens_at) == (EPOCH, None)


def test_from_forced_open_to_forced_closed_and_back(scene: Scene) -> None:
    """A person may change their mind without leaving it to itself in between."""
    scene.order("open")
    scene.order("closed")
    scene.calls("-" * VOLUME)
    scene.order("open")
    assert scene.breaker.admit() is None
    assert scene.told == ["open", "closed", "open"]
    scene.time += WINDOW_S
    assert scene.figures() == (0, 0)


def test_there_is_no_other_mode(scene: Scene) -> None:
    """A mode that does not exist is refused and changes nothing."""
    with pytest.raises(ValueError, match="half_open"):
        scene.breaker.force("half_open")
    assert scene.breaker.mode == "auto"
