"""The actor base class on Pykka's extension points, its references, and the future that holds a reply.

Pykka provides the receive loop, the envelopes and the failure rules. The dispatcher decides where the loop runs. There
is no global registry of actors: the code that starts an actor owns it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

import pykka
from pykka import ActorDeadError, ActorRef, Timeout
from pykka._envelope import Envelope  # what Pykka's own references put into an inbox

from actors.runtime.dispatchers import Dispatcher
from actors.runtime.mailbox import Mailbox

logger: Final = logging.getLogger(__name__)

T = TypeVar("T")


class Future(pykka.Future[T], Generic[T]):
    """A future with one lock: set once by an actor, awaited by one thread outside the actors."""

    def __init__(self) -> None:
        super().__init__()
        self._pending = threading.Lock()
        self._pending.acquire()
        self._done = False
        self._value: T | None = None
        self._error: BaseException | None = None

    def set(self, value: T | None = None) -> None:
        """Set the reply. Raises RuntimeError the second time."""
        if self._done:
            raise RuntimeError("a reply was set twice")
        self._value = value
        self._done = True
        self.wake()

    def wake(self) -> None:
        """Let the waiting thread continue, with a reply or without."""
        try:  # without suppress(), which costs as much as the release
            self._pending.release()
        except RuntimeError:  # it was done before
            return

    def set_exception(
        self, exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | Any | None = None
    ) -> None:
        """Reply with an error, as Pykka does when an ask fails."""
        if exc_info is None:
            exc_info = sys.exc_info()
        self._error = exc_info[1]
        self.set()

    @property
    def done(self) -> bool:
        """Whether the reply is set."""
        return self._done

    def get(self, *, timeout: float | None = None) -> T:
        """Wait up to ``timeout`` seconds, or until woken. Raises pykka.Timeout, or what the actor raised."""
        if not self._done:
            self._pending.acquire(timeout=-1 if timeout is None else max(timeout, 0))
            if not self._done:
                raise Timeout("there was no reply in time")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # None only where the reply is None


class KilledError(Exception):
    """A BaseException (a kill, not an error) that hit an actor while it handled a message."""


DELIVERIES_MAX: Final = 3
"""How many actors one message may kill before it is dropped as poison."""


@dataclass(frozen=True, slots=True)
class Redelivery:
    """A message that killed ``deaths`` actors before."""

    message: Any
    deaths: int


class Reference(ActorRef[Any]):
    """Pykka's reference to one of these actors. A closed mailbox raises ActorDeadError by itself."""

    actor_inbox: Mailbox
    used_at: float
    """When its router last noted a message to the actor."""

    def __init__(self, actor: ServiceActor) -> None:
        # Not super().__init__(): it makes a weak reference, which only proxies need, for each of 100,000 actors.
        self.actor_class = actor.__class__
        self.actor_urn = actor.actor_urn
        self.actor_inbox = actor.actor_inbox
        self.actor_stopped = actor.actor_stopped

    def is_alive(self) -> bool:
        """Whether the actor has not stopped."""
        return not self.actor_inbox.stopped

    def tell(self, message: Any) -> None:
        """Send ``message``. Raises ActorDeadError and MailboxFullError."""
        self.actor_inbox.put(Envelope(message))

    def tell_here(self, message: Any) -> None:
        """Send ``message``, and let an idle actor handle it in the caller's thread. Raises the same."""
        self.actor_inbox.put_and_run(Envelope(message))


class ServiceActor(pykka.Actor):
    """An actor that a dispatcher runs. Subclasses implement ``receive`` and never block on another actor."""

    actor_inbox: Mailbox
    _actor_ref: Reference
    key: Any = None
    """Its name at its owner."""
    on_end: Callable[[ServiceActor, Sequence[Any]], None] | None = None
    """Called once after the actor ended, in its context, with the messages that it did not handle."""
    failed: BaseException | None = None
    """The error that ended the actor; None if it stopped itself."""
    _in_hand: Any = None
    """The message that is being handled, until its effect is in a state that outlives this actor."""

    def __init__(self) -> None:
        # Not super().__init__(): it makes a random URN and a threading.Event for each of 100,000 actors.
        self.actor_urn = type(self).__name__  # for log lines; the key identifies the actor
        self.actor_inbox = Mailbox()
        self.actor_stopped = self.actor_inbox  # type: ignore[assignment]  # has the two methods that Pykka uses
        self._actor_ref = Reference(self)

    @classmethod
    def start(cls, *_args: Any, **_kwargs: Any) -> Any:
        """Not used: see ``launch``."""
        raise NotImplementedError("use launch()")

    def launch(self, dispatcher: Dispatcher, capacity: int) -> Reference:
        """Start on ``dispatcher`` with at most ``capacity`` waiting messages; returns the reference."""
        self.actor_inbox.bind(self, dispatcher, capacity)
        return self._actor_ref

    def receive(self, message: Any) -> Any:
        """Handle one message."""
        raise NotImplementedError

    @property
    def at_rest(self) -> bool:
        """Whether it awaits no answer and has nothing left to do."""
        return True

    def recover(self) -> Sequence[Any]:
        """Hook after an error: what it had taken (see ``ack``) and not finished, for its successor."""
        return ()

    def on_poison_message(self, message: Any) -> None:
        """Hook: ``message`` killed DELIVERIES_MAX actors and is dropped. Reply to its sender if it awaits one."""

    def unhandled(self) -> Sequence[Any]:
        """After an error: what its successor handles before the messages that still wait in the mailbox."""
        killer = self._in_hand
        if killer is None:
            return self.recover()
        message, deaths = (killer.message, killer.deaths + 1) if isinstance(killer, Redelivery) else (killer, 1)
        if deaths >= DELIVERIES_MAX:
            logger.error("a poison message is dropped: %s", type(message).__name__)  # its content may be personal
            self.on_poison_message(message)
            return self.recover()
        return [*self.recover(), Redelivery(message, deaths)]

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        raise NotImplementedError("use launch()")

    def on_receive(self, message: Any) -> Any:
        """Pykka's hook: keep a BaseException from Pykka, which would stop every actor in the process."""
        self._in_hand = message
        try:
            reply = self.receive(message.message if isinstance(message, Redelivery) else message)
        except Exception:
            raise
        except BaseException as error:
            raise KilledError(repr(error)) from error
        self._in_hand = None
        return reply

    def ack(self) -> None:
        """Acknowledge the message in hand: its effect outlives this actor, so it is not to be redelivered."""
        self._in_hand = None

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002  # Pykka's signature
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Pykka's hook: keep the error."""
        self.failed = exception_value

    # Called by the mailbox in this order: begin, handle_waiting repeatedly, end.

    def begin(self) -> None:
        """Run ``on_start`` in the actor's context; an error in it ends this actor only."""
        try:
            self.on_start()
        except BaseException as error:  # noqa: BLE001  # logged by Pykka
            self.failed = error
            self._handle_failure(*sys.exc_info())

    def handle_waiting(self) -> bool:
        """Handle the messages of this run; True once the actor has stopped."""
        self._actor_loop_running()
        return self.actor_inbox.stopped

    def end(self) -> None:
        """Pass the messages that were not handled to ``on_end``."""
        left = []
        while not self.actor_inbox.empty():
            envelope = self.actor_inbox.get()
            if envelope.reply_to is None:
                left.append(envelope.message)
            else:
                envelope.reply_to.set_exception((ActorDeadError, ActorDeadError(f"{self} stopped first"), None))
        if self.on_end is not None:
            self.on_end(self, left)
