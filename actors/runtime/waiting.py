"""Threads outside the actors that wait for replies, with one shared timer for their timeouts.

A timer for each request would cost too much: nearly every reply comes long before its timeout.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from actors.runtime.actor import Future
from actors.runtime.locks import ShortLock
from actors.runtime.runtime import Runtime

T = TypeVar("T")

SWEEP_S: Final = 0.25
"""How much longer than its timeout a thread may wait at most."""


class Waiting:
    """Waits for replies for ``timeout_s`` seconds, accurate to one sweep."""

    def __init__(self, runtime: Runtime, timeout_s: float) -> None:
        self._runtime, self._timeout_s = runtime, timeout_s
        self._sweep_s = min(SWEEP_S, timeout_s / 4)
        self._lock = ShortLock()
        self._until: dict[Future[Any], float] = {}
        self._sweeping = False

    @property
    def count(self) -> int:
        """The number of waiting threads."""
        return len(self._until)

    def wait(self, reply: Future[T]) -> T:
        """Wait for ``reply`` and return its value. Raises pykka.Timeout, or what the actor raised."""
        if not reply.done:
            with self._lock:
                self._until[reply] = self._runtime.monotonic() + self._timeout_s
                idle, self._sweeping = not self._sweeping, True
            if idle:
                self._runtime.after(self._sweep_s, self._sweep)
        try:
            return reply.get()
        finally:
            self._until.pop(reply, None)

    def _sweep(self) -> None:
        now = self._runtime.monotonic()
        with self._lock:
            overdue = [reply for reply, until in self._until.copy().items() if until <= now]
            self._sweeping = bool(self._until)
            again = self._sweeping
        if again:
            self._runtime.after(self._sweep_s, self._sweep)
        for reply in overdue:
            reply.wake()
