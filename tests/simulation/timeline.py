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
"""When more time than this goes by while there is something to do, the machine stood still for that long."""


class Timeline:
    """Seconds since the world began, for processes, providers and the database server.

    One step is one thing that one process does; the dice say which. A process that is frozen has no turn, and its
    timers go off late.
    """

    def __init__(self, chance: random.Random, history: History) -> None:
        self._chance, self._history = chance, history
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.now = 0.0
        self.runtimes: list[ThreadedRuntime] = []
        """Those of the processes that live."""
        self.current: ThreadedRuntime | None = None
        """The process that runs."""

    def clock(self) -> datetime:
        """What a clock shows that is never off: the database's."""
        return EPOCH + timedelta(seconds=self.now)

    def after(self, delay_s: float, function: Callable[[], None]) -> None:
        """Call ``function`` outside of all processes in ``delay_s`` seconds."""
        heapq.heappush(self._due, (self.now + delay_s, next(self._numbers), function))

    def advance(self, seconds: float) -> None:
        """Let time pass without anything being done: what is due meanwhile is late."""
        self.now += seconds
        self._history.add("still", self.now, seconds=seconds)

    @contextmanager
    def turn(self, runtime: ThreadedRuntime) -> Iterator[None]:
        """What happens in the block happens in the process of ``runtime``."""
        before, self.current = self.current, runtime
        try:
            yield
        finally:
            self.current = before

    def step(self, until: float | None = None) -> bool:
        """Do one thing. False when there is nothing, or nothing before the time ``until``."""
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
        """Go on to what is due next, if that is in time, and let it and all that is due by then run."""
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
