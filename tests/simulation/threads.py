"""Virtual threads: blocking code runs in one, waits there in virtual time, and may die there."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from actors.runtime.dispatchers import Dispatcher, Executor, Runnable
from actors.runtime.simulated import SimulatedRuntime
from tests.simulation.history import History
from tests.simulation.timeline import Timeline

T = TypeVar("T")

BULKHEAD: Final = "gateway-"
"""The prefix of the names of executors for calls to providers."""
NEVER_BLOCKS: Final = ("supervisor", "customers")
"""Actors that need no thread, because they never wait."""


class ThreadedRuntime(SimulatedRuntime):
    """The simulated runtime of process number ``process``, on the time line of all processes.

    Its calls to providers and the callers of its store have separate threads; ``kill`` ends them all.
    """

    def __init__(self, chance: random.Random, history: History, timeline: Timeline, process: int) -> None:
        self._timeline = timeline
        super().__init__(chance, started_at=timeline.now)
        self._history = history
        self._hub = getcurrent()
        self._threads: dict[greenlet, int] = {}
        self._loops: set[greenlet] = set()
        """The threads that run as long as the process."""
        self._jobs = 0
        self.process = process
        self.calm = False
        self.dead = False
        self.frozen = False
        self.stopping = False
        """Whether the loops are to end after their next wait."""

    # called by the time line

    @property
    def ready(self) -> bool:
        """Whether it has a step that can run now."""
        return bool(self._ready) and not self.frozen

    @property
    def next_at(self) -> float | None:
        """The time of its next timer."""
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return None if self.frozen or not self._timers else self._timers[0][0]

    def ring(self) -> None:
        """Fire the timers that are due."""
        if (at := self.next_at) is not None and at <= self._monotonic:
            self._fire(self._monotonic)

    def do_one(self) -> None:
        """Do a random step that can run now."""
        ready = self._ready
        last = len(ready) - 1
        chosen = self._chance.randrange(last + 1)
        ready[chosen], ready[last] = ready[last], ready[chosen]
        ready.pop()()

    @property
    def _monotonic(self) -> float:  # its clock is that of the time line
        return self._timeline.now

    @_monotonic.setter
    def _monotonic(self, now: float) -> None:
        self._timeline.now = now

    # Runtime

    def dispatcher(self, name: str, threads: int) -> Dispatcher:
        """See Runtime."""
        return super().dispatcher(name, threads) if name in NEVER_BLOCKS else _Threads(self)

    def executor(self, name: str, threads: int) -> Executor:  # noqa: ARG002  # each job has its own thread
        """See Runtime."""
        return _Bulkhead(self, name.removeprefix(BULKHEAD)) if name.startswith(BULKHEAD) else _Threads(self)

    # threads

    @property
    def busy(self) -> bool:
        """Whether any step can run now, or any thread waits that is not a loop."""
        return bool(self._ready) or len(self._threads) > len(self._loops)

    @property
    def loops(self) -> bool:
        """Whether any loop runs."""
        return bool(self._loops)

    @property
    def job(self) -> int | None:
        """The job number of the running thread; None outside of all threads."""
        return self._threads.get(getcurrent())

    def begin(self, function: Callable[[], None], *, delay_s: float = 0.0) -> int:
        """Run ``function`` in a new thread in ``delay_s`` seconds, and return its job number."""
        self._jobs += 1
        if not self.dead:
            thread = greenlet(function, self._hub)
            self._threads[thread] = self._jobs
            if delay_s:
                self.after(delay_s, partial(self._go_on, thread))
            else:
                self._ready.append(partial(self._go_on, thread))
        return self._jobs

    def begin_loop(self, function: Callable[[], None]) -> None:
        """Run ``function`` in a new thread that pauses again and again as long as the process runs."""
        self.begin(function)
        if not self.dead:
            self._loops.add(next(reversed(self._threads)))

    def choose(self, among: Sequence[T]) -> T:
        """One of these, at random."""
        return self._chance.choice(among)

    def pause(self, seconds: float) -> None:
        """In a thread: pause for this time while others run."""
        if self.dead:
            raise GreenletExit
        self.after(seconds, partial(self._go_on, getcurrent()))
        self._hub.switch()

    def kill(self) -> None:
        """End the process: its threads end at once, and nothing that they still do has an effect."""
        self.dead = True
        for thread in list(self._threads):
            thread.throw(GreenletExit)

    def handed_over(self, gateway: str, function: Callable[[], None]) -> None:
        """Begin a call that its bulkhead has admitted, sometimes late.

        After the call has checked its permit, it sends its first byte within the same step. A longer pause between the
        two, at a gateway without keys, is the risk that docs/architecture.md describes.
        """
        slow = not self.calm and self._chance.random() < 0.1
        job = self.begin(function, delay_s=self._chance.choice([0.01, 1.0, 4.0, 40.0]) if slow else 0.0)
        self._history.add("handed", self.monotonic(), process=self.process, gateway=gateway, job=job)

    def _go_on(self, thread: greenlet) -> None:
        thread.switch()
        if thread.dead:
            self._threads.pop(thread, None)
            self._loops.discard(thread)


class _Threads:
    """Runs each run of an actor, and each function, in a separate thread."""

    def __init__(self, runtime: ThreadedRuntime) -> None:
        self._runtime = runtime

    def schedule(self, runnable: Runnable, /) -> None:
        self._runtime.begin(runnable.run)

    def run_here(self, runnable: Runnable, /) -> None:
        self.schedule(runnable)

    def submit(self, function: Callable[[], None], /) -> None:
        self._runtime.begin(function)


class _Bulkhead:
    def __init__(self, runtime: ThreadedRuntime, gateway: str) -> None:
        self._runtime, self._gateway = runtime, gateway

    def submit(self, function: Callable[[], None], /) -> None:
        self._runtime.handed_over(self._gateway, function)
