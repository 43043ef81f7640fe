"""The connections of one client: slots for those in use, and the idle ones."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateways.http.connection import Connection

# Servers commonly close idle connections after 5 s or more. If one closes while a request is on its way, the outcome
# of that request is unknown. So ours are not reused after a shorter time.
IDLE_S_MAX: Final = 4.0


class Pool:
    """At most ``max_concurrent`` connections. Thread-safe."""

    def __init__(self, max_concurrent: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots = threading.BoundedSemaphore(max_concurrent)
        self._idle: deque[Connection] = deque()  # the newest is at the right
        self._closed = False

    def acquire(self, timeout_s: float) -> bool:
        """Take a slot; returns whether one became free in time."""
        return self._slots.acquire(blocking=False) or self._slots.acquire(timeout=timeout_s)

    def take(self) -> Connection | None:
        """An idle connection that is still usable."""
        oldest = self._clock() - IDLE_S_MAX
        with suppress(IndexError):  # raised when none is left; other threads take from it, too
            while True:
                connection = self._idle.pop()
                if connection.idle_since > oldest and connection.is_fresh():
                    connection.reusable = False  # until its next response is complete
                    return connection
                connection.close()
        return None

    def release(self, connection: Connection | None, *, usable: bool) -> None:
        """Free the slot. Keep a ``usable`` connection that is reusable; close those that were idle for too long."""
        try:
            if connection is not None and usable and connection.reusable:
                self._keep(connection)
            elif connection is not None:
                connection.close()
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close idle connections, and from now on those that are released."""
        self._closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = self._clock()
        self._idle.append(connection)
        oldest = connection.idle_since - IDLE_S_MAX
        with suppress(IndexError):
            while self._idle[0].idle_since <= oldest:
                self._idle.popleft().close()
        if self._closed:
            self.close()
