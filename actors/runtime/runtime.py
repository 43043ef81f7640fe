"""Everything not deterministic in one object: threads, clocks, timers, ids, randomness.

``LiveRuntime`` is the real one; ``actors.runtime.simulated`` runs the same actors in one thread under a seed.
"""

from __future__ import annotations

import heapq
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Final, Protocol

from actors.runtime.dispatchers import Dispatcher, Executor, GrowingExecutor, ThreadDispatcher

logger: Final = logging.getLogger(__name__)

_POLL_S: Final = 0.02
_ENDS_DRAWN: Final = 400


class Timer(Protocol):
    """A function to be called later."""

    def cancel(self) -> None:
        """Cancel the call, unless it has begun."""


class Runtime(Protocol):
    """Where actors run, and everything outside the process's memory that they use."""

    def dispatcher(self, name: str, threads: int) -> Dispatcher:
        """Make a dispatcher with this many threads."""

    def executor(self, name: str, threads: int) -> Executor:
        """Make an executor with at most this many threads."""

    def now(self) -> datetime:
        """The time of the wall clock, UTC. It may jump."""

    def monotonic(self) -> float:
        """Seconds on the monotonic clock, for durations."""

    def random(self) -> float:
        """A random number in [0, 1)."""

    def new_id(self) -> str:
        """A new UUIDv7 (RFC 9562)."""

    def after(self, delay_s: float, function: Callable[[], None]) -> Timer:
        """Call ``function``, which must not block, in ``delay_s`` seconds."""


def uuid7(at: datetime, chance: int) -> str:
    """A UUIDv7 of the milliseconds of ``at`` and 74 bits of ``chance`` (RFC 9562, section 5.7)."""
    low = f"{0x8000000000000000 | chance & 0x3FFFFFFFFFFFFFFF:016x}"
    return f"{_beginning(int(at.timestamp() * 1000))}{0x7000 | chance >> 62 & 0xFFF:04x}-{low[:4]}-{low[4:]}"


def _beginning(millis: int) -> str:
    text = f"{millis & 0xFFFFFFFFFFFF:012x}"
    return f"{text[:8]}-{text[8:]}-"


_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _ends(count: int) -> list[str]:
    """The random parts of ``count`` UUIDv7. Slicing text is faster than formatting numbers."""
    drawn = os.urandom(10 * count).hex()
    digits = (drawn[at : at + 20] for at in range(0, len(drawn), 20))
    return [f"7{some[:3]}-{_VARIANT[some[3]]}{some[4:7]}-{some[7:19]}" for some in digits]


class _LiveTimer:
    __slots__ = ("cancelled", "function")

    def __init__(self, function: Callable[[], None]) -> None:
        self.function, self.cancelled = function, False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    """One heap and one thread for all timers of a process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, _LiveTimer]] = []
        self._numbers = count()
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name="timers", daemon=True)
        self._thread.start()

    def after(self, delay_s: float, function: Callable[[], None]) -> Timer:
        """Call ``function`` on the timers' thread in ``delay_s`` seconds."""
        timer = _LiveTimer(function)
        with self._changed:
            heapq.heappush(self._heap, (time.monotonic() + delay_s, next(self._numbers), timer))
            if self._heap[0][2] is timer:
                self._changed.notify()
        return timer

    def stop(self) -> None:
        """Stop the thread; pending timers are never called."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and (not self._heap or self._heap[0][0] > time.monotonic()):
                    self._changed.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
                if self._stopped:
                    return
                _, _, timer = heapq.heappop(self._heap)
            if not timer.cancelled:
                try:
                    timer.function()
                except BaseException:  # all timers share this thread: one defect must not stop the others
                    logger.exception("unexpected error in a timer")


class LiveRuntime:
    """Threads (greenlets once gevent has patched them), the machine's clocks, and the system's randomness."""

    def __init__(self) -> None:
        self._timers = Timers()
        self._pools: list[ThreadDispatcher | GrowingExecutor] = []
        self._random: Final = random.Random()  # noqa: S311  # spreads delays only; ids do not come from it
        self._ends: list[str] = []
        self._beginning = (-1, "")

    def dispatcher(self, name: str, threads: int) -> Dispatcher:
        """See Runtime."""
        pool = ThreadDispatcher(name, threads)
        self._pools.append(pool)
        return pool

    def executor(self, name: str, threads: int) -> Executor:
        """See Runtime."""
        pool = GrowingExecutor(name, threads)
        self._pools.append(pool)
        return pool

    def now(self) -> datetime:
        """See Runtime."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See Runtime."""
        return time.monotonic()

    def random(self) -> float:
        """See Runtime."""
        return self._random.random()

    def new_id(self) -> str:
        """See Runtime."""
        millis = time.time_ns() // 1_000_000
        # The pair is replaced as a whole: another thread never reads one time with the text of another.
        cached, beginning = self._beginning
        if millis != cached:
            beginning = _beginning(millis)
            self._beginning = (millis, beginning)
        # One system call for 400 ids. Taking from the end of a list is atomic, so that none is used twice.
        while True:
            try:
                return beginning + self._ends.pop()
            except IndexError:
                self._ends = _ends(_ENDS_DRAWN)

    def after(self, delay_s: float, function: Callable[[], None]) -> Timer:
        """See Runtime."""
        return self._timers.after(delay_s, function)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Block the calling thread until ``condition`` holds, for at most ``timeout_s``; whether it holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def stop(self, timeout_s: float) -> bool:
        """End all threads after their queued work; False if some did not end in time."""
        self._timers.stop()
        deadline = time.monotonic() + timeout_s
        ended = [
            pool.stop(max(deadline - time.monotonic(), 0.01)) for pool in self._pools
        ]  # all of them, even after one that did not
        return all(ended)
