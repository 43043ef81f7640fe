"""Small actors and dispatchers for the runtime's own tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from actors.runtime.actor import ServiceActor
from actors.runtime.dispatchers import Runnable


class ByHand:
    """A dispatcher that runs only when the test runs it."""

    def __init__(self) -> None:
        self.scheduled: deque[Runnable] = deque()

    def schedule(self, runnable: Runnable, /) -> None:
        """Queue it."""
        self.scheduled.append(runnable)

    def run_here(self, runnable: Runnable, /) -> None:
        """Run it in the caller, as the real one does."""
        runnable.run()

    def run_one(self) -> None:
        """Run what was scheduled first."""
        self.scheduled.popleft().run()

    def run(self) -> None:
        """Run everything, and what it schedules."""
        while self.scheduled:
            self.run_one()


class AtOnce:
    """A dispatcher that runs a mailbox within the call that schedules it."""

    def __init__(self) -> None:
        self._waiting: deque[Runnable] = deque()
        self._running = False
        self.held = False

    def schedule(self, runnable: Runnable, /) -> None:
        """Run it now, unless a running one scheduled it."""
        self._waiting.append(runnable)
        if not self.held:
            self.run()

    def run_here(self, runnable: Runnable, /) -> None:
        """See ``schedule``."""
        self.schedule(runnable)

    def run(self) -> None:
        """Run everything, and what it schedules."""
        if self._running:
            return
        self._running = True
        try:
            while self._waiting:
                self._waiting.popleft().run()
        finally:
            self._running = False


class Die(Exception):  # noqa: N818  # sent to an actor, it is a command
    """A message that kills the actor."""


class Recorder(ServiceActor):
    """Logs what it handles in ``log``; dies of Die, and calls a function it receives."""

    def __init__(self, log: list[Any], name: str = "") -> None:
        super().__init__()
        self.log = log
        self.name = name
        self.keeps: list[Any] = []

    def on_start(self) -> None:
        """Log the start."""
        self.log.append(f"start{self.name}")

    def receive(self, message: Any) -> Any:
        """See the class."""
        if isinstance(message, BaseException):
            raise message
        if callable(message):
            return message(self)
        self.log.append(message)
        return f"did {message}"

    def recover(self) -> Sequence[Any]:
        """What a message made the actor keep."""
        return self.keeps


class Refusable:
    """A message that a full mailbox may refuse."""

    refusable = True


def stopping(actor: Any) -> None:
    """A message: stop if nothing waits, as passivation does."""
    if actor.actor_inbox.close_if_empty():
        actor._stop()


Message = Callable[[Recorder], object]
