"""Addresses: whoever lives gets the message, the dead are replaced, the idle go, and nothing is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.runtime.mailbox import MailboxFullError
from actors.runtime.router import Router
from tests.actors.dispatching import AtOnce, ByHand, Die, Recorder, Refusable, stopping


class Clock:
    """A monotonic clock that goes on when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def log() -> list[Any]:
    """What the actors handled."""
    return []


@pytest.fixture
def dispatcher() -> ByHand:
    """Nothing runs until the test says so."""
    return ByHand()


@pytest.fixture
def clock() -> Clock:
    """Time stands still."""
    return Clock()


@pytest.fixture
def router(log: list[Any], dispatcher: ByHand, clock: Clock) -> Router[str]:
    """A router of recorders."""
    return Router(lambda key: Recorder(log, f" {key}"), dispatcher, capacity=10, monotonic=clock)


def test_a_key_has_one_actor(router: Router[str], dispatcher: ByHand, log: list[Any]) -> None:
    """An actor comes to life with the first message to its key and serves the later ones."""
    for key in ("a", "b", "a"):
        router.tell(key, f"to {key}")
    dispatcher.run()
    assert log == ["start a", "to a", "to a", "start b", "to b"]
    assert len(router) == 2


def test_who_stopped_is_replaced_when_told(router: Router[str], dispatcher: ByHand, log: list[Any]) -> None:
    """A message to an actor that has stopped wakes a new one; nothing is lost and nobody is told of it."""
    router.tell("a", stopping)
    dispatcher.run()
    assert len(router) == 0
    router.tell("a", "again")
    dispatcher.run()
    assert log == ["start a", "start a", "again"]
    assert router.deaths == 0


def test_a_message_told_while_the_actor_stops_wakes_the_next_one(
    router: Router[str], dispatcher: ByHand, log: list[Any]
) -> None:
    """Between the closing of the mailbox and the actor's end a teller is sent to a successor."""

    def stops_and_is_told(actor: Recorder) -> None:
        assert actor.actor_inbox.close_if_empty()
        router.tell("a", "in between")
        actor._stop()

    router.tell("a", stops_and_is_told)
    dispatcher.run()
    assert log == ["start a", "start a", "in between"]
    assert len(router) == 1


def test_a_successor_takes_over_in_order(router: Router[str], dispatcher: ByHand, log: list[Any]) -> None:
    """After a death the successor gets what its predecessor had in work, then what killed it, then what waited."""
    killed: list[Recorder] = []

    def keeps_and_dies(actor: Recorder) -> None:
        if not killed:
            actor.keeps = ["salvaged 1", "salvaged 2"]
            killed.append(actor)
            raise Die
        log.append("delivered again")

    router.tell("a", keeps_and_dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start a", "start a", "salvaged 1", "salvaged 2", "delivered again", "waited"]
    assert router.deaths == 1


def test_a_message_told_while_the_dead_are_replaced_comes_last(
    log: list[Any], dispatcher: ByHand, clock: Clock
) -> None:
    """Between an actor's death and its successor's life a teller waits its turn behind all that was told before."""

    class Told(Recorder):
        def salvage(self) -> Sequence[Any]:
            router.tell("a", "while it died 1")
            router.tell("a", "while it died 2")
            assert not router.at_rest
            return ["salvaged"]

    router: Router[str] = Router(lambda _: Told(log), dispatcher, capacity=10, monotonic=clock)

    def dies(actor: Recorder) -> None:
        actor.took()
        raise Die

    router.tell("a", dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "salvaged", "waited", "while it died 1", "while it died 2"]
    assert router.at_rest


def test_the_bound_holds_between_two_lives(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """While the dead are replaced as much may wait as in a mailbox, and what may not be refused always may."""
    commands = [Refusable() for _ in range(3)]

    class Told(Recorder):
        def salvage(self) -> Sequence[Any]:
            for command in commands:
                router.tell("a", command)
            with pytest.raises(MailboxFullError):
                router.tell("a", Refusable())
            router.tell("a", "an answer")
            return ()

    router: Router[str] = Router(lambda _: Told(log), dispatcher, capacity=3, monotonic=clock)

    def dies(actor: Recorder) -> None:
        actor.took()
        raise Die

    router.tell("a", dies)
    dispatcher.run()
    assert log == ["start", "start", *commands, "an answer"]


@pytest.mark.parametrize("failures", [1, 2])
def test_a_salvage_that_fails_is_asked_again(log: list[Any], dispatcher: ByHand, clock: Clock, failures: int) -> None:
    """What an actor died of may hit its salvage, too: it is asked again, and the successor begins whatever comes."""
    left = [SystemExit("a kill"), Die()][:failures]

    class Unlucky(Recorder):
        def salvage(self) -> Sequence[Any]:
            if left:
                raise left.pop()
            return self.keeps

    router: Router[str] = Router(lambda _: Unlucky(log), dispatcher, capacity=10, monotonic=clock)

    def keeps_and_dies(actor: Recorder) -> None:
        actor.keeps = ["salvaged"]
        actor.took()
        raise Die

    router.tell("a", keeps_and_dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "salvaged", "waited"]


def test_a_salvage_that_always_fails_costs_nobody_else(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """What waits in the mailbox of an actor that gives nothing away is handled all the same."""

    class Stubborn(Recorder):
        def salvage(self) -> Sequence[Any]:
            raise Die

    router: Router[str] = Router(lambda _: Stubborn(log), dispatcher, capacity=10, monotonic=clock)
    router.tell("a", Die())
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "waited"]


def test_a_full_successor_refuses_nothing_that_was_accepted(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """What a dead actor had accepted goes to its successor, however much it is: the bound is for new messages alone."""
    router: Router[str] = Router(lambda _: Recorder(log), dispatcher, capacity=3, monotonic=clock)
    kept = [Refusable() for _ in range(5)]

    def keeps_and_dies(actor: Recorder) -> None:
        actor.keeps = [*kept]
        actor.took()
        raise Die

    router.tell("a", keeps_and_dies)
    waiting = [Refusable(), Refusable(), "an answer"]
    for message in waiting:
        router.tell("a", message)
    with pytest.raises(MailboxFullError):
        router.tell("a", Refusable())
    dispatcher.run()
    assert [entry for entry in log if entry != "start"] == [*kept, *waiting]


def test_a_successor_is_not_forgotten_for_its_predecessor(log: list[Any], clock: Clock) -> None:
    """When an actor dies while its teller has not come back yet, the key stays its successor's: one actor for a key."""
    dispatcher = AtOnce()  # the actor dies, and its successor lives, before tell comes back
    made: list[Recorder] = []

    def make(key: str) -> Recorder:
        dispatcher.held = len(made) == 1  # the successor is not run yet when tell comes back
        made.append(Recorder(log))
        return made[-1]

    router: Router[str] = Router(make, dispatcher, capacity=10, monotonic=clock)
    router.tell("a", "hello")
    _tell_and_die(router, dispatcher)
    assert len(made) == 2
    router.tell("a", "to the successor")
    dispatcher.held = False
    dispatcher.run()
    assert len(made) == 2, "a third actor was made although the second lives"
    assert log[-1] == "to the successor"


def _tell_and_die(router: Router[str], dispatcher: AtOnce) -> None:
    deaths: list[int] = []

    def dies_once(_: Recorder) -> None:
        if not deaths:
            deaths.append(1)
            raise Die

    router.tell("a", dies_once)


def test_idle_actors_are_found_oldest_first(router: Router[str], dispatcher: ByHand, clock: Clock) -> None:
    """A sweep names those that were told nothing for long enough, at most so many, and each once in that time."""
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


def test_being_told_something_is_not_being_idle(router: Router[str], dispatcher: ByHand, clock: Clock) -> None:
    """A message starts an actor's idle time anew."""
    router.tell("a", 1)
    clock.now = 9.0
    router.tell("a", 2)
    clock.now = 15.0
    assert router.idle(10.0, 10) == []


def test_messages_close_together_are_noted_once(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """Within its granularity a router does not look at the clock for each message; idleness is told that coarsely."""
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


def test_at_rest_is_when_nobody_has_anything_to_do(router: Router[str], dispatcher: ByHand) -> None:
    """A router with a message that waits anywhere is not at rest."""
    rests = [router.at_rest]
    router.tell("a", 1)
    router.tell("b", 1)
    rests.append(router.at_rest)
    dispatcher.run_one()
    rests.append(router.at_rest)
    dispatcher.run()
    rests.append(router.at_rest)
    assert rests == [True, False, False, True]


def test_an_actor_that_cannot_be_made_is_the_tellers_error(dispatcher: ByHand) -> None:
    """When making the actor fails, the teller hears of it, and the next teller tries anew."""
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


def test_a_successor_that_cannot_be_made_loses_nothing(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """What the dead left waits until an actor can be made again, and comes before what was told since."""
    makes: list[str] = []

    def make(key: str) -> Recorder:
        makes.append(key)
        if 2 <= len(makes) <= 3:
            raise Die
        return Recorder(log)

    def dies(actor: Recorder) -> None:
        actor.took()
        raise Die

    router: Router[str] = Router(make, dispatcher, capacity=10, monotonic=clock)
    router.tell("a", dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert not router.at_rest
    with pytest.raises(Die):
        router.tell("a", "refused")
    router.tell("a", "told since")
    dispatcher.run()
    assert log == ["start", "start", "waited", "told since"]


def test_an_actor_is_made_without_a_lock(log: list[Any], dispatcher: ByHand, clock: Clock) -> None:
    """The making of an actor is foreign code: it may even tell its own address, and there is one actor all the same."""

    def make(key: str) -> Recorder:
        if key == "a" and not len(router):
            router.tell("b", "from a's making")
            router.tell("a", "from its own making")
        return Recorder(log, f" {key}")

    router: Router[str] = Router(make, dispatcher, capacity=10, monotonic=clock)
    router.tell("a", "hello")
    dispatcher.run()
    assert len(router) == 2
    assert sorted(log) == ["from a's making", "from its own making", "hello", "start a", "start b"]
