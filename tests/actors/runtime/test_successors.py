"""Successors: what a dead actor had accepted is theirs, in its order, and nobody who tells notices the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.runtime.mailbox import MailboxFullError
from actors.runtime.router import Router
from tests.actors.runtime.fixtures import AtOnce, ByHand, Die, Recorder, Refusable


@pytest.fixture
def log() -> list[Any]:
    """What the actors handled."""
    return []


@pytest.fixture
def dispatcher() -> ByHand:
    """Nothing runs until the test says so."""
    return ByHand()


@pytest.fixture
def router(log: list[Any], dispatcher: ByHand) -> Router[str]:
    """A router of recorders."""
    return Router(lambda key: Recorder(log, f" {key}"), dispatcher, capacity=10, monotonic=lambda: 0.0)


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


def test_a_message_told_while_the_dead_are_replaced_comes_last(log: list[Any], dispatcher: ByHand) -> None:
    """Between an actor's death and its successor's life a teller waits its turn behind all that was told before."""

    class Told(Recorder):
        def recover(self) -> Sequence[Any]:
            addresses.tell("a", "while it died 1")
            addresses.tell("a", "while it died 2")
            assert not addresses.at_rest
            return ["salvaged"]

    addresses: Router[str] = Router(lambda _: Told(log), dispatcher, capacity=10, monotonic=lambda: 0.0)

    def dies(actor: Recorder) -> None:
        actor.ack()
        raise Die

    addresses.tell("a", dies)
    addresses.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "salvaged", "waited", "while it died 1", "while it died 2"]
    assert addresses.at_rest


def test_the_bound_holds_between_two_lives(log: list[Any], dispatcher: ByHand) -> None:
    """While the dead are replaced as much may wait as in a mailbox, and what may not be refused always may."""
    commands = [Refusable() for _ in range(3)]

    class Told(Recorder):
        def recover(self) -> Sequence[Any]:
            for command in commands:
                addresses.tell("a", command)
            with pytest.raises(MailboxFullError):
                addresses.tell("a", Refusable())
            addresses.tell("a", "an answer")
            return ()

    addresses: Router[str] = Router(lambda _: Told(log), dispatcher, capacity=3, monotonic=lambda: 0.0)

    def dies(actor: Recorder) -> None:
        actor.ack()
        raise Die

    addresses.tell("a", dies)
    dispatcher.run()
    assert log == ["start", "start", *commands, "an answer"]


@pytest.mark.parametrize("failures", [1, 2])
def test_a_salvage_that_fails_is_asked_again(log: list[Any], dispatcher: ByHand, failures: int) -> None:
    """What an actor died of may hit its salvage, too: it is asked again, and the successor begins whatever comes."""
    left = [SystemExit("a kill"), Die()][:failures]

    class Unlucky(Recorder):
        def recover(self) -> Sequence[Any]:
            if left:
                raise left.pop()
            return self.keeps

    router: Router[str] = Router(lambda _: Unlucky(log), dispatcher, capacity=10, monotonic=lambda: 0.0)

    def keeps_and_dies(actor: Recorder) -> None:
        actor.keeps = ["salvaged"]
        actor.ack()
        raise Die

    router.tell("a", keeps_and_dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "salvaged", "waited"]


def test_a_salvage_that_always_fails_costs_nobody_else(log: list[Any], dispatcher: ByHand) -> None:
    """What waits in the mailbox of an actor that gives nothing away is handled all the same."""

    class Stubborn(Recorder):
        def recover(self) -> Sequence[Any]:
            raise Die

    router: Router[str] = Router(lambda _: Stubborn(log), dispatcher, capacity=10, monotonic=lambda: 0.0)
    router.tell("a", Die())
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "waited"]


def test_a_full_successor_refuses_nothing_that_was_accepted(log: list[Any], dispatcher: ByHand) -> None:
    """What a dead actor had accepted goes to its successor, however much it is: the bound is for new messages alone."""
    router: Router[str] = Router(lambda _: Recorder(log), dispatcher, capacity=3, monotonic=lambda: 0.0)
    kept = [Refusable() for _ in range(5)]

    def keeps_and_dies(actor: Recorder) -> None:
        actor.keeps = [*kept]
        actor.ack()
        raise Die

    router.tell("a", keeps_and_dies)
    waiting = [Refusable(), Refusable(), "an answer"]
    for message in waiting:
        router.tell("a", message)
    with pytest.raises(MailboxFullError):
        router.tell("a", Refusable())
    dispatcher.run()
    assert [entry for entry in log if entry != "start"] == [*kept, *waiting]


def test_a_successor_is_not_forgotten_for_its_predecessor(log: list[Any]) -> None:
    """When an actor dies while its teller has not come back yet, the key stays its successor's: one actor for a key."""
    dispatcher = AtOnce()  # the actor dies, and its successor lives, before tell comes back
    made: list[Recorder] = []

    def make(key: str) -> Recorder:
        dispatcher.held = len(made) == 1  # the successor is not run yet when tell comes back
        made.append(Recorder(log))
        return made[-1]

    router: Router[str] = Router(make, dispatcher, capacity=10, monotonic=lambda: 0.0)
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


def test_a_successor_that_cannot_be_made_loses_nothing(log: list[Any], dispatcher: ByHand) -> None:
    """What the dead left waits until an actor can be made again, and comes before what was told since."""
    makes: list[str] = []

    def make(key: str) -> Recorder:
        makes.append(key)
        if 2 <= len(makes) <= 3:
            raise Die
        return Recorder(log)

    def dies(actor: Recorder) -> None:
        actor.ack()
        raise Die

    router: Router[str] = Router(make, dispatcher, capacity=10, monotonic=lambda: 0.0)
    router.tell("a", dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert not router.at_rest
    with pytest.raises(Die):
        router.tell("a", "refused")
    router.tell("a", "told since")
    dispatcher.run()
    assert log == ["start", "start", "waited", "told since"]
