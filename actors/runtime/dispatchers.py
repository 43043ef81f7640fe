"""Dispatchers and executors: where actors and blocking calls run. Under the gevent worker, threads are greenlets."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

from actors.runtime.locks import ShortLock

logger: Final = logging.getLogger(__name__)


class Runnable(Protocol):
    """One bounded piece of work, such as a run of a mailbox."""

    def run(self) -> None:
        """Do the work."""


class Dispatcher(Protocol):
    """Runs scheduled work soon."""

    def schedule(self, runnable: Runnable, /) -> None:
        """Run ``runnable`` once, somewhere else than in the caller."""

    def run_here(self, runnable: Runnable, /) -> None:
        """Run ``runnable`` once, in the caller if the dispatcher permits: one thread hand-over less."""


class Executor(Protocol):
    """Runs functions that may block: calls to providers, reads of the store."""

    def submit(self, function: Callable[[], None], /) -> None:
        """Call ``function`` once, somewhere else than in the caller. An error it raises is logged as a defect."""


class ThreadDispatcher:
    """A fixed number of threads that share one queue; serves as dispatcher and as executor.

    ``threads`` 1 gives an actor a thread of its own.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._loop, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def schedule(self, runnable: Runnable, /) -> None:
        """Run ``runnable`` on one of the threads."""
        self._queue.put(runnable.run)

    def run_here(self, runnable: Runnable, /) -> None:
        """Run ``runnable`` now."""
        runnable.run()

    def submit(self, function: Callable[[], None], /) -> None:
        """Call ``function`` on one of the threads."""
        self._queue.put(function)

    def stop(self, timeout_s: float) -> bool:
        """End the threads after the queued work; False if some did not end within ``timeout_s`` in total."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def _loop(self) -> None:
        while (function := self._queue.get()) is not None:
            try:
                function()
            except BaseException:  # a thread serves many actors and must survive one defect, which the log shows
                logger.exception("unexpected error in %s", threading.current_thread().name)


class GrowingExecutor:
    """Up to ``threads`` threads, started on demand: an idle bulkhead of hundreds costs nothing."""

    def __init__(self, name: str, threads: int) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._name, self._limit = name, threads
        self._lock = ShortLock()
        self._threads: list[threading.Thread] = []
        self._started = self._idle = 0

    def submit(self, function: Callable[[], None], /) -> None:
        """Call ``function`` on an idle thread, on a new one, or on the first that becomes free."""
        with self._lock:
            number = self._started
            needed = self._idle <= 0 and number < self._limit
            if needed:
                self._started += 1
            else:
                self._idle -= 1  # negative: the next thread that becomes free takes it at once
        if needed:
            self._start(number)
        self._queue.put(function)

    def _start(self, number: int) -> None:
        """Start a thread, outside of the lock: it waits until the thread runs."""
        thread = threading.Thread(target=self._loop, name=f"{self._name}-{number}", daemon=True)
        try:
            thread.start()
        except BaseException:
            with self._lock:
                self._started -= 1
            raise
        self._threads.append(thread)

    def stop(self, timeout_s: float) -> bool:
        """End the threads after the queued work; False if some did not end within ``timeout_s`` in total."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def _loop(self) -> None:
        while (function := self._queue.get()) is not None:
            try:
                function()
            except BaseException:  # see ThreadDispatcher
                logger.exception("unexpected error in %s", threading.current_thread().name)
            with self._lock:
                self._idle += 1
