"""The mailbox: in order, fair, bounded for refusable messages, and closed without losing any."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
from pykka import ActorDeadError, ActorRef
from pykka._envelope import Envelope

from actors.runtime.mailbox import QUOTA, Mailbox, MailboxFullError
from tests.actors.runtime.fixtures import ByHand, Die, Recorder, Refusable, stopping


@pytest.fixture
def log() -> list[Any]:
    """The messages that the actor handled."""
    return []


@pytest.fixture
def dispatcher() -> ByHand:
    """A dispatcher that runs only when the test runs it."""
    return ByHand()


def launch(log: list[Any], dispatcher: ByHand, capacity: int = 10) -> ActorRef[Any]:
    """A live recorder."""
    recorder = Recorder(log)
    return recorder.launch(dispatcher, capacity)


def mailbox_of(ref: ActorRef[Any]) -> Mailbox:
    """Its mailbox."""
    mailbox = ref.actor_inbox
    assert isinstance(mailbox, Mailbox)
    return mailbox


def test_messages_are_handled_in_order(log: list[Any], dispatcher: ByHand) -> None:
    """Messages of one sender are handled in order, after on_start."""
    ref = launch(log, dispatcher)
    for number in range(5):
        ref.tell(number)
    dispatcher.run()
    assert log == ["start", 0, 1, 2, 3, 4]


def test_a_mailbox_is_scheduled_at_most_once(log: list[Any], dispatcher: ByHand) -> None:
    """However many messages come, the dispatcher has the mailbox once: no two threads run one actor."""
    ref = launch(log, dispatcher)
    for number in range(5):
        ref.tell(number)
    assert len(dispatcher.scheduled) == 1
    dispatcher.run_one()
    assert not dispatcher.scheduled
    ref.tell(5)
    ref.tell(6)
    assert len(dispatcher.scheduled) == 1


def test_a_message_that_comes_during_a_run_wakes_the_actor(log: list[Any], dispatcher: ByHand) -> None:
    """No wake-up is lost: a message that arrives during a run is handled in that run or the next."""
    ref = launch(log, dispatcher)

    def sends_more(_: Recorder) -> None:
        for number in range(QUOTA + 1):
            ref.tell(f"sent during the run {number}")

    ref.tell(sends_more)
    dispatcher.run()
    assert len(log) == 1 + QUOTA + 1
    assert mailbox_of(ref).at_rest


def test_a_busy_actor_lets_others_run(dispatcher: ByHand) -> None:
    """An actor handles at most QUOTA messages in a row before another one runs."""
    log: list[Any] = []
    busy, other = launch(log, dispatcher, 1_000), launch(log, dispatcher)
    for number in range(3 * QUOTA):
        busy.tell(number)
    other.tell("other")
    dispatcher.run()
    assert log.index("other") == 2 + QUOTA
    assert [entry for entry in log if isinstance(entry, int)] == list(range(3 * QUOTA))


def test_a_sender_may_run_an_idle_actor_itself(log: list[Any], dispatcher: ByHand) -> None:
    """A caller that waits anyway runs the actor; if it runs already, the message is queued."""
    ref = launch(log, dispatcher)
    mailbox = mailbox_of(ref)
    mailbox.put_and_run(Envelope("before it was started"))
    assert log == []
    dispatcher.run()

    def sends_to_itself(_: Recorder) -> None:
        mailbox.put_and_run(Envelope("sent during a run"))
        log.append("the run goes on")

    mailbox.put_and_run(Envelope(sends_to_itself))
    assert log == ["start", "before it was started", "the run goes on", "sent during a run"]
    assert not dispatcher.scheduled
    assert mailbox.at_rest


def test_only_what_may_be_refused_is_refused(log: list[Any], dispatcher: ByHand) -> None:
    """A full mailbox refuses refusable messages only, and accepts them when it has capacity."""
    ref = launch(log, dispatcher, capacity=2)
    ref.tell(Refusable())
    ref.tell(Refusable())
    with pytest.raises(MailboxFullError):
        ref.tell(Refusable())
    ref.tell("an answer")
    dispatcher.run()
    ref.tell(Refusable())
    dispatcher.run()
    assert len(log) == 1 + 4


def test_a_closed_mailbox_takes_nothing(log: list[Any], dispatcher: ByHand) -> None:
    """A message to a stopped actor raises, by tell and by put."""
    ref = launch(log, dispatcher)
    ref.tell(stopping)
    dispatcher.run()
    with pytest.raises(ActorDeadError):
        ref.tell("late")
    with pytest.raises(ActorDeadError):
        mailbox_of(ref).put(None)  # type: ignore[arg-type]  # its type does not matter
    assert log == ["start"]


def test_closing_if_empty_is_one_step(log: list[Any], dispatcher: ByHand) -> None:
    """A mailbox with a message does not close, and an empty one accepts none from then on."""
    ref = launch(log, dispatcher)
    ref.tell(stopping)
    ref.tell("waits already")
    dispatcher.run()
    assert log == ["start", "waits already"]
    assert mailbox_of(ref).close_if_empty()
    with pytest.raises(ActorDeadError):
        ref.tell("late")


def test_a_stopped_actor_is_released(log: list[Any], dispatcher: ByHand) -> None:
    """No reference holds an actor after its end: 100,000 of them come and go."""
    ref = launch(log, dispatcher)
    actor = mailbox_of(ref)._actor
    assert actor is not None
    weak = weakref.ref(actor)
    del actor
    ref.tell(stopping)
    dispatcher.run()
    assert mailbox_of(ref)._actor is None
    assert weak() is None


def test_messages_that_an_ended_actor_has_not_handled_are_passed_on(log: list[Any], dispatcher: ByHand) -> None:
    """Messages that wait when an actor dies go to on_end in order; asks get an error."""
    left: list[Any] = []
    recorder = Recorder(log)
    recorder.on_end = lambda _, waiting: left.extend(waiting)
    ref = recorder.launch(dispatcher, 10)
    ref.tell(Die())
    ref.tell("first")
    asked = ref.ask("a question", block=False)
    ref.tell("second")
    dispatcher.run()
    assert left == ["first", "second"]
    assert log == ["start"]
    with pytest.raises(ActorDeadError):
        asked.get(timeout=0)


def test_a_mailbox_is_at_rest_only_when_nothing_waits_or_runs(log: list[Any], dispatcher: ByHand) -> None:
    """At rest: on_start has run, no message waits, and none is handled."""
    ref = launch(log, dispatcher)
    mailbox = mailbox_of(ref)
    seen = [mailbox.at_rest]
    dispatcher.run()
    seen.append(mailbox.at_rest)
    ref.tell(lambda _: seen.append(mailbox.at_rest))
    seen.append(mailbox.at_rest)
    dispatcher.run()
    seen.append(mailbox.at_rest)
    assert seen == [False, True, False, False, True]
