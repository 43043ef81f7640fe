"""The deterministic runtime: actors, calls and timers in one thread, in an order that a seed decides.

The same seed gives the same history. Time is virtual. It passes when no other work is left, and sometimes before, so
that timers also fire while work is pending.
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
"""Probability before each step that the clock advances to the next timer although work is pending."""


class _Place:
    """A dispatcher or executor. All of them share one list of runnable work."""

    def __init__(self, ready: list[Callable[[], None]]) -> None:
        self._ready = ready

    def schedule(self, runnable: Runnable, /) -> None:
        self._ready.append(runnable.run)

    def run_here(self, runnable: Runnable, /) -> None:
        self.schedule(runnable)  # in any order: a real dispatcher may find the actor busy

    def submit(self, function: Callable[[], None], /) -> None:
        self._ready.append(function)


class _SimulatedTimer:
    __slots__ = ("cancelled", "function")

    def __init__(self, function: Callable[[], None]) -> None:
        self.function, self.cancelled = function, False

    def cancel(self) -> None:
        self.cancelled = True


class SimulatedRuntime:
    """A Runtime whose choices all come from ``chance``. ``started_at``: virtual seconds that have already passed."""

    def __init__(self, chance: random.Random, *, started_at: float = 0.0) -> None:
        self._chance = chance
        self._ready: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, _SimulatedTimer]] = []
        self._numbers = count()
        self._monotonic = started_at
        self.wall_offset_s = 0.0
        """The offset of the wall clock; a test may change it at any time."""

    def dispatcher(self, name: str, threads: int) -> Dispatcher:  # noqa: ARG002  # all share one place
        """See Runtime."""
        return _Place(self._ready)

    def executor(self, name: str, threads: int) -> Executor:  # noqa: ARG002  # all share one place
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
        """Let time pass without running anything: timers due meanwhile are late."""
        self._monotonic += seconds

    def step(self, until: float | None = None) -> bool:
        """Run one piece of work. False when there is none, or none before the virtual time ``until``."""
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
        """Step until no work is left, or none before ``until``."""
        while self.step(until):
            pass

    def _fire(self, until: float | None) -> None:
        """Advance to the next timer, if it is in time, and make all timers due by then runnable."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if not self._timers or (until is not None and self._timers[0][0] > until):
            return
        self._monotonic = max(self._monotonic, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._monotonic:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                self._ready.append(timer.function)
