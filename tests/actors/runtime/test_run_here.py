"""Saved hand-overs: an idle actor handles a message in its sender's thread, with the same result."""

from __future__ import annotations

from typing import Any

import pytest

from actors.generations import Generations
from actors.journal import JournalActor
from actors.messages import Append, Recipient, Written
from actors.runtime.actor import Reference
from actors.runtime.router import ActorAddress
from actors.runtime.simulated import SimulatedRuntime
from store.port import Committed
from tests.actors.runtime.fixtures import ByHand, Die, Recorder
from tests.actors.support import Inbox, RecordingListener, TroubledStore
from tests.store.builders import Customer


@pytest.fixture
def log() -> list[Any]:
    """The messages that the actors handled."""
    return []


def address_of(actor: type[Recorder], log: list[Any], dispatcher: ByHand) -> ActorAddress:
    """An address whose started actor runs in the caller."""
    address = ActorAddress(lambda: actor(log), dispatcher, capacity=10, monotonic=lambda: 0.0, run_here=True)
    address.tell("first")
    dispatcher.run()
    return address


def launched(actor: Recorder, dispatcher: ByHand) -> Reference:
    """The reference of an idle actor."""
    ref = actor.launch(dispatcher, 10)
    dispatcher.run()
    return ref


def test_an_idle_actor_handles_a_message_in_the_senders_thread(log: list[Any]) -> None:
    """No dispatcher is needed after the start; while the actor runs, a message is queued."""
    dispatcher = ByHand()
    address = address_of(Recorder, log, dispatcher)

    def sends_to_itself(_: Recorder) -> None:
        address.tell("sent during a run")
        log.append("the run goes on")

    address.tell("sent when idle")
    address.tell(sends_to_itself)
    assert log == ["start", "first", "sent when idle", "the run goes on", "sent during a run"]
    assert not dispatcher.scheduled


def test_an_actor_that_dies_in_the_senders_thread_does_not_harm_the_sender(log: list[Any]) -> None:
    """The sender gets no error, and its next message is handled by a successor."""
    dispatcher = ByHand()
    address = address_of(Recorder, log, dispatcher)
    address.tell(Die())
    address.tell("after")
    dispatcher.run()
    assert log[-1] == "after"
    assert address.deaths > 0


def test_a_writer_gets_its_result_without_a_hand_over(
    runtime: SimulatedRuntime, store: TroubledStore, log: list[Any]
) -> None:
    """The journal runs an idle writer; one that dies of its answer costs no other writer its answer."""

    class Mortal(Recorder):
        def receive(self, message: Any) -> Any:
            if isinstance(message, Written):
                raise Die
            return super().receive(message)

    writers, ours = ByHand(), ByHand()
    refs = [launched(Recorder(log), writers), launched(Mortal([]), writers), launched(Recorder(log), writers)]
    inbox = Inbox()
    journal = JournalActor(
        store=store,
        listener=RecordingListener(),
        monotonic=runtime.monotonic,
        generations=Generations(runtime.monotonic),
    ).launch(ours, 10)
    recipients: list[Recipient] = [*refs, inbox]
    for serial, writer in enumerate(recipients):
        journal.tell(Append(Customer(f"c{serial}").deposit(f"t-{serial}"), serial, writer))
    ours.run()
    assert [message for message in log if message != "start"] == [Written(0, Committed()), Written(2, Committed())]
    assert inbox.of(Written) == [Written(3, Committed())]
    assert not writers.scheduled


def test_the_deterministic_runtime_saves_no_hand_over(runtime: SimulatedRuntime, log: list[Any]) -> None:
    """In that runtime every message is queued, so that every order that threads permit is tried."""
    ref = Recorder(log).launch(runtime.dispatcher("one", 1), 10)
    runtime.run()
    ref.tell_here("sent")
    assert log == ["start"]
    runtime.run()
    assert log == ["start", "sent"]
