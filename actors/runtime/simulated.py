"""The deterministic runtime: actors, calls and timers in one thread, in an order that a seed decides.

The same seed gives the same history. Time is virtual: it passes when nothing else is left to do, and now and then
before that, so that timers also go off in the middle of things.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from actors.runtime.dispatchers import Dispatcher, Executor, Runnable
from actors.runtime.runtime import Timer, uuid7

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
TIME_SLIPS: Final = 0.02
"""Chance before each step that the clock goes on to the next timer although there is work to do."""


class _Place:
    """A dispatcher or executor: all of them share the one list of what can run."""

    def __init__(self, ready: list[Callable[[], None]]) -> None:
        self._ready = ready

    def schedule(self, runnable: Runnable, /) -> None:
        self._ready.append(runnable.run)

    def run_here(self, runnable: Runnable, /) -> None:
        self.schedule(runnable)  # a real one may find the actor busy, and so all orders happen here, too

    def submit(self, function: Callable[[], None], /) -> None:
        self._ready.append(function)


class _SimulatedTimer:
    __slots__ = ("cancelled", "function")

    def __init__(self, function: Callable[[], None]) -> None:
        self.function, self.cancelled = function, False

    def cancel(self) -> None:
        self.cancelled = True


class SimulatedRuntime:
    """A Runtime whose every choice comes from ``chance``. ``started_at``: seconds of virtual time already passed."""

    def __init__(self, chance: random.Random, *, started_at: float = 0.0) -> None:
        self._chance = chance
        self._ready: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, _SimulatedTimer]] = []
        self._numbers = count()
        self._monotonic = started_at
        self.wall_offset_s = 0.0
        """How far the wall clock is off; a test may change it at any time."""

    def dispatcher(self, name: str, threads: int) -> Dispatcher:  # noqa: ARG002  # there is one place for all
        """See Runtime."""
        return _Place(self._ready)

    def executor(self, name: str, threads: int) -> Executor:  # noqa: ARG002  # there is one place for all
        """See Runtime."""
        return _Place(self._ready)

    def now(self) -> datetime:
        """See Runtime."""
        return EPOCH + timedelta(seconds=self._monotonic + self.wall_offset_s)

    def monotonic(self) -> float:
        """See Runtime."""
        return self._monotonic

    def random(self) -> float:
        """See Runtime."""
        return self._chance.random()

    def new_id(self) -> str:
        """See Runtime."""
        return uuid7(self.now(), self._chance.getrandbits(80))

    def after(self, delay_s: float, function: Callable[[], None]) -> Timer:
        """See Runtime."""
        timer = _SimulatedTimer(function)
        heapq.heappush(self._timers, (self._monotonic + delay_s, next(self._numbers), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass without anything being done: what is due meanwhile is late."""
        self._monotonic += seconds

    def step(self, until: float | None = None) -> bool:
        """Do one thing. False when there is nothing, or nothing before the virtual time ``until``."""
        if not self._ready or self._chance.random() < TIME_SLIPS:
            self._fire(until)
        if not self._ready:
            return False
        last = len(self._ready) - 1
        chosen = self._chance.randrange(last + 1)
        self._ready[chosen], self._ready[last] = self._ready[last], self._ready[chosen]
        self._ready.pop()()
        return True

    def run(self, until: float | None = None) -> None:
        """Step until nothing is left, or nothing before ``until``."""
        while self.step(until):
            pass

    def _fire(self, until: float | None) -> None:
        """Go on to the next timer, if there is one in time, and let it and all that are due by then run."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if not self._timers or (until is not None and self._timers[0][0] > until):
            return
        self._monotonic = max(self._monotonic, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._monotonic:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                self._ready.append(timer.function)
