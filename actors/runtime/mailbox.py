"""A bounded mailbox that can be closed: the inbox of one actor, and what a dispatcher runs.

The state machine is Akka's: idle, scheduled, closed. A mailbox is in a dispatcher's queue at most once, so an
actor is never run by two threads. After a run it checks for messages again before it goes idle, so no wake-up is lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from pykka import ActorDeadError

from actors.runtime.dispatchers import Dispatcher
from actors.runtime.locks import ShortLock

if TYPE_CHECKING:
    from pykka._envelope import Envelope

_LOCK: Final = ShortLock()
"""One for all mailboxes, because a lock of its own takes 88 bytes in each. Nothing in the sections below waits."""

QUOTA: Final = 64
"""Messages that an actor may handle in one run before other actors run."""


class MailboxFullError(Exception):
    """The actor has its maximum of waiting messages; this one was not accepted."""


class Owner(Protocol):
    """The actor that handles the messages of a mailbox; see ServiceActor."""

    @property
    def at_rest(self) -> bool: ...  # noqa: D102
    def begin(self) -> None: ...  # noqa: D102
    def handle_waiting(self) -> bool: ...  # noqa: D102
    def end(self) -> None: ...  # noqa: D102


class Mailbox:
    """Messages to one actor, in order.

    ``capacity`` bounds the waiting messages that have a class attribute ``refusable``: new commands. Answers are
    bounded by the number of requests, and are never refused.

    It also has the two methods of ``threading.Event`` by which Pykka's receive loop learns that it has to end
    (``actor_stopped``). So the loop also ends between two messages, without an exception.
    """

    __slots__ = (
        "_actor",
        "_closed",
        "_dispatcher",
        "_left",
        "_messages",
        "_scheduled",
        "_started",
        "capacity",
        "stopped",
    )

    def __init__(self) -> None:
        self._messages: deque[Envelope[Any]] | None = None  # none while idle: 600 bytes less in each actor
        self._actor: Owner | None = None
        self._dispatcher: Dispatcher | None = None
        self._scheduled = self._started = self._closed = False
        self._left = 0
        self.capacity = 0
        self.stopped = False
        """Whether the actor has stopped."""

    def bind(self, actor: Owner, dispatcher: Dispatcher, capacity: int) -> None:
        """Attach to ``actor`` and start it. Holds it strongly until it ends: Pykka's references do not."""
        self._actor, self._dispatcher, self.capacity = actor, dispatcher, capacity
        self._scheduled = True
        dispatcher.schedule(self)

    def put(self, envelope: Envelope[Any], /) -> None:
        """Accept a message. Raises ActorDeadError if closed, or MailboxFullError: then it is not accepted."""
        if self._accept(envelope):
            self._schedule()

    def put_and_run(self, envelope: Envelope[Any], /) -> None:
        """Accept a message, and run an idle actor in the caller if the dispatcher permits. Raises the same."""
        if self._accept(envelope):
            assert self._dispatcher is not None
            self._dispatcher.run_here(self)

    def _accept(self, envelope: Envelope[Any]) -> bool:
        """Accept a message; True when the caller has to schedule the actor."""
        with _LOCK:
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
        assert self._dispatcher is not None  # bound before the actor's reference is published
        self._dispatcher.schedule(self)

    def get(self) -> Envelope[Any]:
        """The next message of this run. There is one, unless ``is_set`` or ``empty``."""
        assert self._messages
        self._left -= 1
        return self._messages.popleft()

    def is_set(self) -> bool:
        """Whether the loop has to end: the actor has stopped, no message waits, or the run's quota is used up."""
        return self.stopped or not self._messages or self._left <= 0

    def set(self) -> None:
        """Stop the actor."""
        self.stopped = True

    def empty(self) -> bool:
        """Whether no message waits."""
        return not self._messages

    def __len__(self) -> int:
        return len(self._messages) if self._messages else 0

    @property
    def at_rest(self) -> bool:
        """Whether no message waits or is handled, and the actor awaits nothing."""
        actor = self._actor
        return not self._scheduled and (actor is None or actor.at_rest)

    def close_if_empty(self) -> bool:
        """Close if no message waits, atomically: a later put raises, and no message is lost."""
        with _LOCK:
            if self._messages:
                return False
            self._closed = True
            return True

    def run(self) -> None:
        """Let the actor handle waiting messages, up to the quota. Called by the dispatcher, by one thread at a time."""
        actor = self._actor
        assert actor is not None
        self._left = QUOTA
        if not self._started:
            self._started = True
            actor.begin()
        if actor.handle_waiting():
            with _LOCK:
                self._closed = True
            actor.end()
            self._actor = None
            return
        with _LOCK:
            if not self._messages:
                self._messages = None
                self._scheduled = False
                return
        self._schedule()
