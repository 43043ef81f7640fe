"""Successors: they get all messages that a dead actor accepted, in order, and senders get no error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.runtime.mailbox import MailboxFullError
from actors.runtime.router import Router
from tests.actors.runtime.fixtures import AtOnce, ByHand, Die, Recorder, Refusable


@pytest.fixture
def log() -> list[Any]:
    """The messages that the actors handled."""
    return []


@pytest.fixture
def dispatcher() -> ByHand:
    """A dispatcher that runs only when the test runs it."""
    return ByHand()


@pytest.fixture
def router(log: list[Any], dispatcher: ByHand) -> Router[str]:
    """A router of recorders."""
    return Router(lambda key: Recorder(log, f" {key}"), dispatcher, capacity=10, monotonic=lambda: 0.0)


def test_a_successor_takes_over_in_order(router: Router[str], dispatcher: ByHand, log: list[Any]) -> None:
    """The successor gets the recovered work, then the message that killed, then the waiting messages."""
    killed: list[Recorder] = []

    def keeps_and_dies(actor: Recorder) -> None:
        if not killed:
            actor.keeps = ["recovered 1", "recovered 2"]
            killed.append(actor)
            raise Die
        log.append("delivered again")

    router.tell("a", keeps_and_dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start a", "start a", "recovered 1", "recovered 2", "delivered again", "waited"]
    assert router.deaths == 1


def test_a_message_sent_during_a_replacement_comes_last(log: list[Any], dispatcher: ByHand) -> None:
    """A message between death and restart comes after all earlier messages."""

    class SendsInRecover(Recorder):
        def recover(self) -> Sequence[Any]:
            addresses.tell("a", "while it died 1")
            addresses.tell("a", "while it died 2")
            assert not addresses.at_rest
            return ["recovered"]

    addresses: Router[str] = Router(lambda _: SendsInRecover(log), dispatcher, capacity=10, monotonic=lambda: 0.0)

    def dies(actor: Recorder) -> None:
        actor.ack()
        raise Die

    addresses.tell("a", dies)
    addresses.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "recovered", "waited", "while it died 1", "while it died 2"]
    assert addresses.at_rest


def test_the_bound_holds_during_a_restart(log: list[Any], dispatcher: ByHand) -> None:
    """During a restart the capacity of the mailbox applies, and only to refusable messages."""
    commands = [Refusable() for _ in range(3)]

    class SendsInRecover(Recorder):
        def recover(self) -> Sequence[Any]:
            for command in commands:
                addresses.tell("a", command)
            with pytest.raises(MailboxFullError):
                addresses.tell("a", Refusable())
            addresses.tell("a", "an answer")
            return ()

    addresses: Router[str] = Router(lambda _: SendsInRecover(log), dispatcher, capacity=3, monotonic=lambda: 0.0)

    def dies(actor: Recorder) -> None:
        actor.ack()
        raise Die

    addresses.tell("a", dies)
    dispatcher.run()
    assert log == ["start", "start", *commands, "an answer"]


@pytest.mark.parametrize("failures", [1, 2])
def test_a_recovery_that_fails_is_repeated(log: list[Any], dispatcher: ByHand, failures: int) -> None:
    """The cause of death may affect ``recover`` as well: it is repeated, and the successor starts in any case."""
    left = [SystemExit("a kill"), Die()][:failures]

    class FailsOnce(Recorder):
        def recover(self) -> Sequence[Any]:
            if left:
                raise left.pop()
            return self.keeps

    router: Router[str] = Router(lambda _: FailsOnce(log), dispatcher, capacity=10, monotonic=lambda: 0.0)

    def keeps_and_dies(actor: Recorder) -> None:
        actor.keeps = ["recovered"]
        actor.ack()
        raise Die

    router.tell("a", keeps_and_dies)
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "recovered", "waited"]


def test_a_recovery_that_always_fails_costs_no_other_message(log: list[Any], dispatcher: ByHand) -> None:
    """Messages that wait for an actor that cannot be recovered are still handled."""

    class AlwaysFails(Recorder):
        def recover(self) -> Sequence[Any]:
            raise Die

    router: Router[str] = Router(lambda _: AlwaysFails(log), dispatcher, capacity=10, monotonic=lambda: 0.0)
    router.tell("a", Die())
    router.tell("a", "waited")
    dispatcher.run()
    assert log == ["start", "start", "waited"]


def test_a_full_successor_refuses_nothing_that_was_accepted(log: list[Any], dispatcher: ByHand) -> None:
    """All accepted messages go to the successor: the capacity bounds new messages only."""
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


def test_a_key_belongs_to_the_successor_of_its_actor(log: list[Any]) -> None:
    """When an actor dies within its sender's call, the key belongs to its successor: one actor for a key."""
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
    """Messages of the dead actor wait until a successor can be made, and come before later ones."""
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
    router.tell("a", "sent since")
    dispatcher.run()
    assert log == ["start", "start", "waited", "sent since"]
