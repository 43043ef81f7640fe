"""A bounded, closable mailbox: the inbox of one actor, and the thing that a dispatcher runs.

The state machine is Akka's: idle, scheduled, closed. A mailbox is in a dispatcher's queue at most once, so an
actor is never run by two threads, and after a run it looks again before it goes idle, so no wake-up is lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pykka import ActorDeadError

from actors.runtime.locks import ShortLock

if TYPE_CHECKING:
    from pykka._envelope import Envelope

    from actors.runtime.actor import ServiceActor
    from actors.runtime.dispatchers import Dispatcher

QUOTA: Final = 64
"""Messages that an actor may handle in one run before others get their turn."""


class MailboxFullError(Exception):
    """The actor has as many messages waiting as it may have; this one was not accepted."""


class Pause(BaseException):
    """Leaves Pykka's receive loop between two messages. Never raised while a message is handled."""


class Mailbox:
    """Messages to one actor, in order.

    ``capacity`` bounds the waiting messages for those that say they may be refused (a class attribute
    ``refusable``): new commands. Answers are as many as questions were asked, and are never refused.
    """

    __slots__ = (
        "_actor",
        "_closed",
        "_dispatcher",
        "_left",
        "_lock",
        "_messages",
        "_scheduled",
        "_started",
        "capacity",
    )

    def __init__(self) -> None:
        self._lock = ShortLock()
        self._messages: deque[Envelope[Any]] | None = None  # an idle actor needs none: 600 bytes saved in each
        self._actor: ServiceActor | None = None
        self._dispatcher: Dispatcher | None = None
        self._scheduled = self._started = self._closed = False
        self._left = 0
        self.capacity = 0

    def bind(self, actor: ServiceActor, dispatcher: Dispatcher, capacity: int) -> None:
        """Belong to ``actor`` (held strongly until it ends, since Pykka's references do not) and start it."""
        self._actor, self._dispatcher, self.capacity = actor, dispatcher, capacity
        self._scheduled = True
        dispatcher.schedule(self)

    def put(self, envelope: Envelope[Any], /) -> None:
        """Accept a message. Raises ActorDeadError once closed, and MailboxFullError; it is not accepted then."""
        if self._accept(envelope):
            self._schedule()

    def put_and_run(self, envelope: Envelope[Any], /) -> None:
        """The same, and unless the actor runs already, run it here, if the dispatcher has it so."""
        if self._accept(envelope):
            assert self._dispatcher is not None
            self._dispatcher.run_here(self)

    def _accept(self, envelope: Envelope[Any]) -> bool:
        """Whether the caller has to see to it that the actor runs."""
        with self._lock:
            if self._closed:
                raise ActorDeadError("the actor has stopped")
            if self._messages is None:
                self._messages = deque()
            if len(self._messages) >= self.capacity and getattr(envelope.message, "refusable", False):
                raise MailboxFullError(f"{len(self._messages)} messages wait already")
            self._messages.append(envelope)
            idle, self._scheduled = not self._scheduled, True
            return idle

    def _schedule(self) -> None:
        assert self._dispatcher is not None  # bound before the actor's reference is known to anybody
        self._dispatcher.schedule(self)

    def get(self) -> Envelope[Any]:
        """The next message of this run. Raises Pause when there is none or the run's quota is spent."""
        if not self._messages or (self._left <= 0 and not self._closed):
            raise Pause
        self._left -= 1
        return self._messages.popleft()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._messages

    def __len__(self) -> int:
        return len(self._messages) if self._messages else 0

    @property
    def at_rest(self) -> bool:
        """Whether nothing waits, runs, or is awaited by the actor."""
        actor = self._actor
        return not self._scheduled and (actor is None or actor.at_rest)

    def close_if_empty(self) -> bool:
        """Close when nothing waits, as one step: whoever puts later is told, and nobody's message is lost."""
        with self._lock:
            if self._messages:
                return False
            self._closed = True
            return True

    def run(self) -> None:
        """Let the actor handle what waits, up to the quota. Called by the dispatcher, never by two threads at once."""
        actor = self._actor
        assert actor is not None
        self._left = QUOTA
        if not self._started:
            self._started = True
            actor.begin()
        if actor.handle_waiting():
            with self._lock:
                self._closed = True
            actor.end()
            self._actor = None
            return
        with self._lock:
            if not self._messages:
                self._messages = None
                self._scheduled = False
                return
        self._schedule()
