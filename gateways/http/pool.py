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


class Slots:
    """At most ``count`` calls at a time. Thread-safe.

    A free slot is taken without a lock. Under gevent a release of ``threading.Semaphore`` would switch to other
    greenlets each time.
    """

    def __init__(self, count: int) -> None:
        self._free = [None] * count  # taking the last item of a list is atomic
        self._freed = threading.Condition()
        self._waiting = 0

    def acquire(self, timeout_s: float) -> bool:
        """Take a slot; returns whether one became free in time."""
        return self._take() or self._wait(timeout_s)

    def release(self) -> None:
        """Free a slot."""
        self._free.append(None)  # before the look at those who wait: either they find it, or this finds them
        if self._waiting:
            with self._freed:
                self._freed.notify()

    def _take(self) -> bool:
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def _wait(self, timeout_s: float) -> bool:
        with self._freed:
            self._waiting += 1
            try:
                return self._freed.wait_for(self._take, timeout_s)
            except BaseException:  # killed: another one takes the slot that this one was woken for
                self._freed.notify()
                raise
            finally:
                self._waiting -= 1


class Pool:
    """At most ``max_concurrent`` connections. Thread-safe."""

    def __init__(self, max_concurrent: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots = Slots(max_concurrent)
        self._idle: deque[Connection] = deque()  # the newest is at the right
        self._closed = False

    def acquire(self, timeout_s: float) -> bool:
        """Take a slot; returns whether one became free in time."""
        return self._slots.acquire(timeout_s)

    def take(self) -> Connection | None:
        """An idle connection that is still usable."""
        oldest = self._clock() - IDLE_S_MAX
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:  # none is left; other threads take from it, too
                return None
            if connection.idle_since > oldest and connection.is_fresh():
                connection.reusable = False  # until its next response is complete
                return connection
            connection.close()

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
