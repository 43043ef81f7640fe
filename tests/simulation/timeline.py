"""The virtual time line of a world: its clock, its due steps, and the process that runs."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Final

from actors.runtime.simulated import EPOCH, TIME_SLIPS
from tests.simulation.history import History

if TYPE_CHECKING:
    from tests.simulation.threads import ThreadedRuntime

SLIP_S: Final = 0.1
"""If more time than this passes while a step could run, the machine was frozen for that time."""


class Timeline:
    """Seconds since the world began, for processes, providers and the database server.

    In one step one process, chosen at random, does one thing. A frozen process does nothing, and its timers fire late.
    """

    def __init__(self, chance: random.Random, history: History) -> None:
        self._chance, self._history = chance, history
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.now = 0.0
        self.runtimes: list[ThreadedRuntime] = []
        """The runtimes of the live processes."""
        self.current: ThreadedRuntime | None = None
        """The runtime of the running process."""

    def clock(self) -> datetime:
        """The exact time, which the database's clock shows."""
        return EPOCH + timedelta(seconds=self.now)

    def after(self, delay_s: float, function: Callable[[], None]) -> None:
        """Call ``function`` outside of all processes in ``delay_s`` seconds."""
        heapq.heappush(self._due, (self.now + delay_s, next(self._numbers), function))

    def advance(self, seconds: float) -> None:
        """Advance the time without any step; steps that become due are late."""
        self.now += seconds
        self._history.add("still", self.now, seconds=seconds)

    @contextmanager
    def turn(self, runtime: ThreadedRuntime) -> Iterator[None]:
        """Run the block in the process of ``runtime``."""
        before, self.current = self.current, runtime
        try:
            yield
        finally:
            self.current = before

    def step(self, until: float | None = None) -> bool:
        """Do one step. Returns False if there is none, or none before the time ``until``."""
        ready = [runtime for runtime in self.runtimes if runtime.ready]
        if not ready or self._chance.random() < TIME_SLIPS:
            before = self.now
            if not self._go_on(until):
                return bool(ready)
            if ready and self.now > before + SLIP_S:
                self._history.add("still", self.now, seconds=self.now - before)
            ready = [runtime for runtime in self.runtimes if runtime.ready]
        if ready:
            runtime = ready[0] if len(ready) == 1 else self._chance.choice(ready)
            with self.turn(runtime):
                runtime.do_one()
        return True

    def _go_on(self, until: float | None) -> bool:
        """Advance to the next due time, if it is not after ``until``, and run everything that is due then."""
        times = [at for runtime in self.runtimes if (at := runtime.next_at) is not None]
        if self._due:
            times.append(self._due[0][0])
        at = min(times, default=None)
        if at is None or (until is not None and at > until):
            return False
        self.now = max(self.now, at)
        for runtime in self.runtimes:
            runtime.ring()
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()
        return True
