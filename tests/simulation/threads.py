"""Virtual threads: what runs on an executor may wait in virtual time in the middle of what it does, and die there."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Final

from greenlet import GreenletExit, getcurrent, greenlet

from actors.runtime.dispatchers import Executor
from actors.runtime.simulated import SimulatedRuntime
from tests.simulation.history import History

BULKHEAD: Final = "gateway-"
"""How the names of those executors begin that calls to providers run on."""


class ThreadedRuntime(SimulatedRuntime):
    """A simulated runtime of one process: its calls to providers are threads of their own, and ``kill`` ends all."""

    def __init__(self, chance: random.Random, history: History, *, started_at: float) -> None:
        super().__init__(chance, started_at=started_at)
        self._history = history
        self._hub = getcurrent()
        self._threads: dict[greenlet, int] = {}
        self._jobs = 0
        self.calm = False
        self.dead = False

    def executor(self, name: str, threads: int) -> Executor:
        """See Runtime."""
        if not name.startswith(BULKHEAD):
            return super().executor(name, threads)
        return _Bulkhead(self, name.removeprefix(BULKHEAD))

    @property
    def busy(self) -> bool:
        """Whether anything can run now or waits in the middle of something."""
        return bool(self._ready or self._threads)

    @property
    def job(self) -> int | None:
        """The number of the job that the running thread does; None outside of all threads."""
        return self._threads.get(getcurrent())

    def begin(self, function: Callable[[], None], *, delay_s: float = 0.0) -> int:
        """Run ``function`` in a new thread ``delay_s`` seconds from now; the number of this job."""
        self._jobs += 1
        thread = greenlet(function, self._hub)
        self._threads[thread] = self._jobs
        if delay_s:
            self.after(delay_s, partial(self._go_on, thread))
        else:
            self._ready.append(partial(self._go_on, thread))
        return self._jobs

    def pause(self, seconds: float) -> None:
        """In a thread: let others run for so long."""
        if self.dead:
            raise GreenletExit
        self.after(seconds, partial(self._go_on, getcurrent()))
        self._hub.switch()

    def kill(self) -> None:
        """The process is gone: its threads end where they are, and nothing that they still do is of any account."""
        self.dead = True
        for thread in list(self._threads):
            thread.throw(GreenletExit)

    def handed_over(self, gateway: str, function: Callable[[], None]) -> None:
        """A call was admitted to its bulkhead; the machine may be slow to begin it."""
        slow = not self.calm and self._chance.random() < 0.1
        job = self.begin(function, delay_s=self._chance.choice([0.01, 1.0, 4.0]) if slow else 0.0)
        self._history.add("handed", self.monotonic(), gateway=gateway, job=job)

    def _go_on(self, thread: greenlet) -> None:
        thread.switch()
        if thread.dead:
            self._threads.pop(thread, None)


class _Bulkhead:
    def __init__(self, runtime: ThreadedRuntime, gateway: str) -> None:
        self._runtime, self._gateway = runtime, gateway

    def submit(self, function: Callable[[], None], /) -> None:
        self._runtime.handed_over(self._gateway, function)
