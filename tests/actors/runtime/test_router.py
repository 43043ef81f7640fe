"""The router: actors start on demand, are replaced after a death, stop when idle, and no message is lost."""

from __future__ import annotations

from typing import Any

import pytest

from actors.runtime.router import Router
from tests.actors.runtime.fixtures import ByHand, Recorder, stopping


class Clock:
    """A monotonic clock that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def log() -> list[Any]:
    """The messages that the actors handled."""
    return []


@pytest.fixture
def dispatcher() -> ByHand:
    """A dispatcher that runs only when the test runs it."""
    return ByHand()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def router(log: list[Any], dispatcher: ByHand, clock: Clock) -> Router[str]:
    """A router of recorders."""
    return Router(lambda key: Recorder(log, f" {key}"), dispatcher, capacity=10, monotonic=clock)


def test_a_key_has_one_actor(router: Router[str], dispatcher: ByHand, log: list[Any]) -> None:
    """An actor starts with the first message to its key and handles the later ones."""
    for key in ("a", "b", "a"):
        router.tell(key, f"to {key}")
    dispatcher.run()
    assert log == ["start a", "to a", "to a", "start b", "to b"]
    assert len(router) == 2


def test_a_stopped_actor_is_replaced_at_the_next_message(
    router: Router[str], dispatcher: ByHand, log: list[Any]
) -> None:
    """A message to a stopped actor starts a new one; nothing is lost, and the sender gets no error."""
    router.tell("a", stopping)
    dispatcher.run()
    assert len(router) == 0
    router.tell("a", "again")
    dispatcher.run()
    assert log == ["start a", "start a", "again"]
    assert router.deaths == 0


def test_a_message_sent_while_the_actor_stops_starts_the_next_one(
    router: Router[str], dispatcher: ByHand, log: list[Any]
) -> None:
    """Between the closing of the mailbox and the actor's end, a message goes to a successor."""

    def stops_and_gets_a_message(actor: Recorder) -> None:
        assert actor.actor_inbox.close_if_empty()
        router.tell("a", "in between")
        actor._stop()

    router.tell("a", stops_and_gets_a_message)
    dispatcher.run()
    assert log == ["start a", "start a", "in between"]
    assert len(router) == 1


def test_idle_actors_are_found_oldest_first(router: Router[str], dispatcher: ByHand, clock: Clock) -> None:
    """A sweep returns actors without messages for long enough, up to a limit, each once in that time."""
    for second, key in enumerate("abcd"):
        clock.now = float(second)
        router.tell(key, "hello")
    dispatcher.run()
    clock.now = 12.0
    assert router.idle(10.0, 2) == [router.start("a"), router.start("b")]
    assert router.idle(10.0, 2) == [router.start("c")]
    assert router.idle(10.0, 2) == []
    clock.now = 22.0
    assert len(router.idle(10.0, 10)) == 3 + 1


def test_a_message_ends_idleness(router: Router[str], dispatcher: ByHand, clock: Clock) -> None:
    """A message resets an actor's idle time."""
    router.tell("a", 1)
    clock.now = 9.0
    router.tell("a", 2)
    clock.now = 15.0
    assert router.idle(10.0, 10) == []


def test_messages_close_together_are_noted_once(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """Within its granularity a router does not note each message; idleness is that coarse."""
    router: Router[str] = Router(lambda _: Recorder(log), dispatcher, capacity=10, monotonic=clock, granularity_s=1.0)
    router.tell("a", 1)
    clock.now = 0.9
    router.tell("a", 2)
    clock.now = 10.0
    assert len(router.idle(10.0, 10)) == 1
    clock.now = 11.5
    router.tell("a", 3)
    clock.now = 20.9
    assert router.idle(10.0, 10) == []


def test_a_router_is_at_rest_when_no_actor_has_work(router: Router[str], dispatcher: ByHand) -> None:
    """A router with a waiting message is not at rest."""
    rests = [router.at_rest]
    router.tell("a", 1)
    router.tell("b", 1)
    rests.append(router.at_rest)
    dispatcher.run_one()
    rests.append(router.at_rest)
    dispatcher.run()
    rests.append(router.at_rest)
    assert rests == [True, False, False, True]


def test_an_actor_that_cannot_be_made_is_the_senders_error(dispatcher: ByHand) -> None:
    """When the constructor fails, the sender gets the error, and the next message tries again."""
    makes = []

    def make(key: str) -> Recorder:
        makes.append(key)
        if len(makes) == 1:
            raise RuntimeError("not now")
        return Recorder([])

    router: Router[str] = Router(make, dispatcher, capacity=10, monotonic=lambda: 0.0)
    with pytest.raises(RuntimeError, match="not now"):
        router.tell("a", "lost")
    router.tell("a", "heard")
    assert len(router) == 1


def test_an_actor_is_made_without_a_lock(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """The constructor is foreign code: it may send to its own address, and there is still one actor."""

    def make(key: str) -> Recorder:
        if key == "a" and not len(addresses):
            addresses.tell("b", "from a's making")
            addresses.tell("a", "from its own making")
        return Recorder(log, f" {key}")

    addresses: Router[str] = Router(make, dispatcher, capacity=10, monotonic=clock)
    addresses.tell("a", "hello")
    dispatcher.run()
    assert len(addresses) == 2
    assert sorted(log) == ["from a's making", "from its own making", "hello", "start a", "start b"]


def test_the_messages_that_wait_are_counted(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """The count covers the most recently used actors, up to a limit, and messages held for successors."""
    router: Router[str] = Router(lambda _: Recorder(log), dispatcher, capacity=10, monotonic=clock)
    for key in "aab":
        router.tell(key, 1)
    assert [router.waiting(limit) for limit in (0, 1, 2, 9)] == [0, 1, 3, 3]
    router._held["c"] = [1, 2, 3]
    assert router.waiting(9) == 6
    del router._held["c"]
    dispatcher.run()
    assert router.waiting(9) == 0
