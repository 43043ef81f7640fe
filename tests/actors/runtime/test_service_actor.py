"""Failure rules of an actor: where an error goes, and what it ends."""

from __future__ import annotations

from typing import Any

import pytest
from pykka import Actor, ActorRegistry

from actors.runtime.actor import DELIVERIES_MAX, Future, KilledError
from actors.runtime.router import ActorAddress, Router
from tests.actors.runtime.fixtures import ByHand, Die, Recorder


@pytest.fixture
def log() -> list[Any]:
    """The messages that the actors handled."""
    return []


@pytest.fixture
def dispatcher() -> ByHand:
    """A dispatcher that runs only when the test runs it."""
    return ByHand()


def test_an_ask_is_answered(log: list[Any], dispatcher: ByHand) -> None:
    """Pykka's ask works on these mailboxes and futures."""
    ref = Recorder(log).launch(dispatcher, 10)
    answer = ref.ask("this", block=False)
    dispatcher.run()
    assert answer.get(timeout=0) == "did this"


def test_an_error_in_an_ask_goes_to_the_asker(log: list[Any], dispatcher: ByHand) -> None:
    """The ask raises the error, and the actor lives."""
    ref = Recorder(log).launch(dispatcher, 10)
    answer = ref.ask(Die("no"), block=False)
    ref.tell("next")
    dispatcher.run()
    with pytest.raises(Die):
        answer.get(timeout=0)
    assert log == ["start", "next"]


def test_an_error_in_a_tell_ends_the_actor(log: list[Any], dispatcher: ByHand) -> None:
    """An error in a tell is reported to the actor's owner only."""
    recorder = Recorder(log)
    ref = recorder.launch(dispatcher, 10)
    ref.tell(Die("of this"))
    dispatcher.run()
    assert isinstance(recorder.failed, Die)
    assert not ref.is_alive()


@pytest.mark.parametrize("kill", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("asked", [True, False])
def test_a_kill_ends_one_actor_at_most(log: list[Any], dispatcher: ByHand, kill: BaseException, *, asked: bool) -> None:
    """A BaseException never reaches Pykka, which would stop every actor of the process."""
    bystander = Recorder(log).launch(dispatcher, 10)
    ref = Recorder(log).launch(dispatcher, 10)
    dispatcher.run()
    answer = ref.ask(kill, block=False) if asked else None
    if not asked:
        ref.tell(kill)
    dispatcher.run()
    if answer is not None:
        with pytest.raises(KilledError):
            answer.get(timeout=0)
    assert ref.is_alive() is asked
    bystander.tell("lives")
    dispatcher.run()
    assert log[-1] == "lives"


def test_actors_are_in_no_global_registry(log: list[Any], dispatcher: ByHand) -> None:
    """Pykka's registry has one lock and one list for 100,000 actors."""
    Recorder(log).launch(dispatcher, 10)
    dispatcher.run()
    assert ActorRegistry.get_all() == []
    with pytest.raises(NotImplementedError):
        Recorder.start()
    assert issubclass(Recorder, Actor)


@pytest.mark.parametrize("failure", [RuntimeError("no luck"), SystemExit()])
def test_an_actor_that_cannot_start_does_not_hold_its_messages(
    log: list[Any], dispatcher: ByHand, failure: BaseException
) -> None:
    """When on_start fails with any error, a successor gets the messages."""
    makes = 0

    class FailsOnce(Recorder):
        def on_start(self) -> None:
            nonlocal makes
            makes += 1
            if makes == 1:
                raise failure
            super().on_start()

    address = ActorAddress(lambda: FailsOnce(log), dispatcher, capacity=10, monotonic=lambda: 0.0)
    address.tell("sent")
    dispatcher.run()
    assert log == ["start", "sent"]


def test_what_killed_an_actor_goes_to_its_successor_a_few_times(log: list[Any], dispatcher: ByHand) -> None:
    """A message is delivered again after a death, up to DELIVERIES_MAX times, and what waits behind it is served."""
    deaths = 0

    def deadly(_: Recorder) -> None:
        nonlocal deaths
        deaths += 1
        raise Die

    router: Router[str] = Router(lambda _: Recorder(log), dispatcher, capacity=10, monotonic=lambda: 0.0)
    router.tell("key", deadly)
    router.tell("key", "behind it")
    dispatcher.run()
    assert deaths == router.deaths == DELIVERIES_MAX
    assert log.count("behind it") == 1


def test_a_message_that_was_taken_is_not_delivered_again(log: list[Any], dispatcher: ByHand) -> None:
    """An acknowledged message is not redelivered, even if the actor dies of it."""
    taken = 0

    def takes_and_dies(actor: Recorder) -> None:
        nonlocal taken
        taken += 1
        actor.ack()
        raise Die

    router: Router[str] = Router(lambda _: Recorder(log), dispatcher, capacity=10, monotonic=lambda: 0.0)
    router.tell("key", takes_and_dies)
    dispatcher.run()
    assert (taken, router.deaths) == (1, 1)


def test_a_reply_is_set_once_and_read_often() -> None:
    """A reply can be awaited with a timeout and read repeatedly, but not changed."""
    reply: Future[int] = Future()
    done_before = reply.done
    reply.set(1)
    assert (done_before, reply.done) == (False, True)
    assert (reply.get(timeout=0), reply.get()) == (1, 1)
    with pytest.raises(RuntimeError):
        reply.set(2)
    assert reply.get(timeout=0) == 1
