"""The time limits of the calls of one client, and the one sweep that enforces them.

A socket timeout would restart with each read, and a peer that sends a byte a second would never meet it. A timer for
each read or call would cost more than the call itself. So reads and writes block without a limit, and a sweep shuts
down the connection of a call that is overdue. The blocked operation then ends at once, in a thread or a greenlet,
also in the middle of a TLS handshake.

All calls have the same time, so the one that began first is due first. The sweep sleeps until then. It runs only while
there are calls: the first call starts it, and it ends when it finds none.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_REMOVED: Final = object()


class Deadline:
    """A point in time on the monotonic clock by which a whole call must be over."""

    __slots__ = ("_at", "_clock", "_endpoint", "expired")

    def __init__(self, clock: Callable[[], float], at: float) -> None:
        self._clock, self._at = clock, at
        self._endpoint: socket.socket | None = None
        self.expired = False
        """Whether the sweep has ended the call. Its connection is then unusable."""

    def left_s(self) -> float:
        """The seconds left, more than 0. Raises TimeoutError when none are left."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def guard(self, endpoint: socket.socket) -> None:
        """From now on shut down ``endpoint`` when the time is over. Raises TimeoutError when it already is."""
        self._endpoint = endpoint  # before the check: either the sweep finds it, or the check fails
        self.left_s()
        if self.expired:
            raise TimeoutError("timed out")

    def expire(self) -> None:
        """End the call. What it blocks on fails at once."""
        self.expired = True
        if self._endpoint is not None:
            with suppress(OSError):  # no longer connected
                # The plain method: that of a TLS socket would make it read and write in plain text.
                socket.socket.shutdown(self._endpoint, socket.SHUT_RDWR)


class Deadlines:
    """The deadlines of calls that take at most ``timeout_s`` each. Thread-safe.

    A call begins and ends without a lock, which under gevent costs more than the rest of both. Setting and removing an
    item of a dictionary are atomic, and whichever of the call and the sweep removes a deadline decides its result.
    """

    def __init__(self, name: str, timeout_s: float, clock: Callable[[], float]) -> None:
        self._name, self._timeout_s, self._clock = name, timeout_s, clock
        self._lock = threading.Lock()
        self._open: dict[Deadline, None] = {}  # in the order in which they are due
        self._sweeping = False

    def begin(self) -> Deadline:
        """Begin a call. Every call must ``end``. Raises RuntimeError when no thread can be started."""
        deadline = Deadline(self._clock, self._clock() + self._timeout_s)
        self._open[deadline] = None
        if not self._sweeping:  # after the line above: either this sees that the sweep has ended, or the sweep sees it
            try:
                self._start_sweep()
            except BaseException:
                self._open.pop(deadline, None)
                raise
        return deadline

    def end(self, deadline: Deadline) -> bool:
        """End a call; returns whether it was in time.

        Afterwards the sweep does not touch its connection: another call may use it, or another connection its number.
        """
        if self._open.pop(deadline, _REMOVED) is not _REMOVED:
            return not deadline.expired
        with self._lock:  # the sweep has removed it, and may be about to shut its connection down
            return False

    def _start_sweep(self) -> None:
        with self._lock:
            if self._sweeping:
                return
            threading.Thread(target=self._sweep, name=f"deadlines-{self._name}", daemon=True).start()
            self._sweeping = True

    def _sweep(self) -> None:
        while True:
            with self._lock:
                wait_s = self._expire_overdue()
                if wait_s is None:
                    self._sweeping = False
                    if not self._open:
                        return
                    self._sweeping = True  # a call began meanwhile
                    continue
            time.sleep(wait_s)

    def _expire_overdue(self) -> float | None:
        """End overdue calls; returns the time until the next one is due, or None when no call is left."""
        for deadline in list(self._open):
            try:
                return deadline.left_s()
            except TimeoutError:
                if self._open.pop(deadline, _REMOVED) is not _REMOVED:
                    deadline.expire()
        return None
