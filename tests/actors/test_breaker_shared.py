"""The circuit breaker of one gateway as one of many: whose word it follows, and what it says itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actors.breaker import AGAIN_S
from actors.ramp import RAMP_FIRST
from actors.runtime.simulated import EPOCH
from store.port import BreakerRecord
from tests.actors.breakers import OWNER, PERMIT_S, SLEEP_S, VOLUME, Scene

GATEWAY = "gatewayA"


@pytest.fixture
def scene() -> Scene:
    """A breaker that has seen nothing yet."""
    return Scene()


@pytest.mark.parametrize("state", ["closed", "open", "half_open"])
def test_what_is_no_newer_changes_nothing(scene: Scene, state: str) -> None:
    """A record may come late, and twice: the epoch tells which is the last."""
    probe = scene.half_open()
    prober = OWNER if state == "half_open" else None
    for epoch in (1, 2):
        scene.breaker.follow(BreakerRecord(GATEWAY, epoch, state, 0.0, prober, PERMIT_S), scene.time)
        assert scene.breaker.holds(probe)
    scene.breaker.report(probe, healthy=False)
    scene.share()
    scene.breaker.follow(BreakerRecord(GATEWAY, 2, state, 0.0, prober, PERMIT_S), scene.time)
    assert scene.told == ["open", "half_open", "open"]


def test_an_opening_is_followed_for_what_is_left_of_its_sleep(scene: Scene) -> None:
    """Whatever is out by then counts no more; operators see since when."""
    permit = scene.admitted()
    scene.wall += timedelta(seconds=5)
    scene.breaker.follow(BreakerRecord(GATEWAY, 7, "open", 5.0), scene.time)
    assert not scene.breaker.holds(permit)
    assert scene.breaker.admit() is None
    assert scene.breaker.wait_s() == SLEEP_S - 5.0
    status = scene.breaker.status()
    assert (status.opened_at, status.reopens_at) == (EPOCH, EPOCH + timedelta(seconds=SLEEP_S))
    assert (scene.told, scene.breaker.unshared_s()) == (["open"], None)
    scene.time += SLEEP_S - 5.0
    assert scene.breaker.probe_wanted() == 7


@pytest.mark.parametrize("age_s", [SLEEP_S, 1e6])
def test_an_opening_of_long_ago_is_probed_at_once(scene: Scene, age_s: float) -> None:
    """Nobody had anything to send meanwhile."""
    scene.breaker.follow(BreakerRecord(GATEWAY, 7, "open", age_s), scene.time)
    assert scene.breaker.wait_s() == 0.0
    assert scene.breaker.probe_wanted() == 7


def test_a_closing_is_followed_with_few_calls_at_first(scene: Scene) -> None:
    """The one that did not probe is as careful as the one that did; one that was closed all the time is not."""
    scene.others(closed=False)
    scene.others(closed=True)
    assert scene.told == ["open", "closed"]
    assert scene.room() == RAMP_FIRST
    never_heard = Scene()
    never_heard.calls("+-")
    permit = never_heard.admitted()
    never_heard.breaker.follow(BreakerRecord(GATEWAY, 9, "closed"), 0.0)
    assert never_heard.breaker.holds(permit)
    assert never_heard.figures() == (2, 50)
    assert never_heard.room() == 200


def test_anothers_probe_is_an_open_breaker_here(scene: Scene) -> None:
    """Also for one that never saw it open; a whole sleep after that permit it asks, if nothing newer is known."""
    scene.breaker.follow(BreakerRecord(GATEWAY, 8, "half_open", 1.0, "you", PERMIT_S - 1.0), scene.time)
    assert (scene.told, scene.breaker.admit()) == (["open"], None)
    assert scene.breaker.wait_s() == PERMIT_S - 1.0 + SLEEP_S
    scene.time += PERMIT_S - 1.0 + SLEEP_S
    assert scene.breaker.probe_wanted() == 8


def test_a_lost_answer_to_the_question_for_the_probe_is_found_by_looking(scene: Scene) -> None:
    """The record has this process's name: it may probe, for as long as the permit still holds."""
    scene.trip()
    scene.time += SLEEP_S
    scene.record.time = scene.time
    scene.record.take(1, OWNER, sleep_s=SLEEP_S, permit_s=PERMIT_S)
    scene.time += 2.0
    scene.record.time = scene.time
    scene.breaker.follow(scene.record.record(), scene.time)
    probe = scene.admitted()
    assert probe.until == scene.time + PERMIT_S - 2.0
    scene.time += PERMIT_S - 2.0
    assert not scene.breaker.holds(probe)


@pytest.mark.parametrize("late_s", [PERMIT_S - 0.25, PERMIT_S, 100.0])
def test_a_permit_counts_from_when_it_was_asked_for(scene: Scene, late_s: float) -> None:
    """This process may have stood still since: with what is left it may probe, and with nothing it has failed."""
    scene.trip()
    scene.time += SLEEP_S
    asked_at = scene.time
    granted = BreakerRecord(GATEWAY, 2, "half_open", 0.0, OWNER, PERMIT_S)
    scene.time += late_s
    scene.breaker.follow(granted, asked_at)
    permit = scene.breaker.admit()
    if late_s < PERMIT_S:
        assert permit is not None
        assert permit.until == asked_at + PERMIT_S
    else:
        assert (permit, scene.told) == (None, ["open"])


def test_a_probe_that_is_not_used_in_its_time_is_lost(scene: Scene) -> None:
    """Others may have it then, and they will not ask this process first."""
    scene.breaker.withdraw(scene.half_open())
    scene.time += PERMIT_S
    assert scene.breaker.admit() is None
    assert scene.breaker.state == "open"
    assert scene.breaker.wait_s() == SLEEP_S


@pytest.mark.parametrize("healthy", [True, False])
def test_of_two_that_turn_it_the_winner_is_followed(scene: Scene, *, healthy: bool) -> None:
    """The record stands elsewhere by then: what came out here is not said any more."""
    probe = scene.half_open()
    scene.record.time = scene.time
    scene.record.turn(2, "open" if healthy else "closed")  # a person, say
    scene.breaker.report(probe, healthy=healthy)
    scene.share()
    assert scene.breaker.state == scene.record.state
    assert scene.breaker.unshared_s() is None
    assert scene.record.epoch == 3


def test_without_the_store_it_opens_alone_and_says_so_again_and_again(scene: Scene) -> None:
    """It probes not: nobody would know of it."""
    scene.sharing = False
    scene.trip()
    for _ in range(20):
        assert scene.breaker.unshared_s() == AGAIN_S
        assert scene.breaker.unshared() is None
        scene.time += AGAIN_S
        assert scene.breaker.probe_wanted() is None
        assert scene.breaker.unshared() == (0, "open")
    assert scene.breaker.admit() is None
    scene.sharing = True
    scene.time += AGAIN_S
    scene.share()
    assert scene.breaker.unshared_s() is None
    assert scene.breaker.wait_s() == SLEEP_S, "the others count from when they hear of it"


def test_a_question_is_asked_once_and_again_after_a_while(scene: Scene) -> None:
    """Its answer may be under way, and whoever has it may have died with it."""
    scene.trip()
    scene.time += SLEEP_S
    assert [scene.breaker.probe_wanted() for _ in range(3)] == [1, None, None]
    assert scene.breaker.wait_s() == AGAIN_S
    scene.time += AGAIN_S
    assert [scene.breaker.probe_wanted() for _ in range(3)] == [1, None, None]


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_while_it_is_forced_records_are_remembered_only(scene: Scene, mode: str) -> None:
    """They are what it begins with when it is left to itself; nothing is asked or said meanwhile."""
    scene.order(mode)
    scene.others(closed=mode == "open")
    assert scene.breaker.state == mode
    scene.calls("-" * VOLUME if mode == "closed" else "")
    scene.time += 100 * SLEEP_S
    assert (scene.breaker.probe_wanted(), scene.breaker.unshared()) == (None, None)
    scene.breaker.force("auto")
    assert scene.breaker.state == ("closed" if mode == "open" else "open")


def test_an_order_does_away_with_what_was_not_said_yet(scene: Scene) -> None:
    """The person has seen what he wanted to see; the breaker does not turn it over afterwards."""
    scene.sharing = False
    scene.trip()
    scene.order("closed")
    scene.order("auto")
    assert (scene.breaker.state, scene.breaker.unshared_s()) == ("closed", None)


def test_a_probe_of_before_an_order_is_none_afterwards(scene: Scene) -> None:
    """Its permit is void; whoever reads the record waits until it would have expired, and so does this process."""
    probe = scene.half_open()
    scene.breaker.force("open")
    scene.breaker.force("auto")
    assert not scene.breaker.holds(probe)
    assert (scene.breaker.admit(), scene.breaker.wait_s()) == (None, PERMIT_S + SLEEP_S)
