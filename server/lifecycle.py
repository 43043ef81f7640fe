"""Start and stop of a worker's service: a list of steps in dependency order, and the same list reversed.

It handles every step alike, whatever the step does. The start runs in the background, because waiting for a resource
must not hold up the worker's own heartbeat.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

logger: Final = logging.getLogger(__name__)

RETRY_S: Final = 2.0
"""Wait before a step that failed is tried again."""
STOP_WITHIN_S: Final = 8.0
"""How long a stop waits for a step that is just being started."""


class StoppedError(Exception):
    """The service was stopped while it was starting."""


class Status(Protocol):
    """Where problems of the start are shown."""

    def report_problem(self, problem: str) -> None:
        """Show ``problem`` as the reason why the service is not ready."""

    def begin_stopping(self) -> None:
        """Show that the service stops."""


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the start. ``drain`` and ``stop`` are called only when it has started; ``stop`` after ``drain``."""

    name: str
    start: Callable[[], object] = _nothing
    drain: Callable[[], object] = _nothing
    stop: Callable[[], object] = _nothing


class Lifecycle:
    """Starts the steps one after the other, and stops those that have started in reverse order.

    A step that raises ``retried`` is tried again until it succeeds or the service is stopped. Meanwhile ``status``
    shows the error after ``problem``. ``settled`` is set when the start has ended or has met a problem.
    """

    def __init__(self, status: Status, *, retried: type[Exception], problem: str) -> None:
        self._status, self._retried, self._problem = status, retried, problem
        self.settled = threading.Event()
        self._stopping = threading.Event()
        self._started: list[Step] = []
        self._thread: threading.Thread | None = None
        self._reported = ""

    def start(self, steps: Sequence[Step]) -> None:
        """Begin to start ``steps`` in the background."""
        self._thread = threading.Thread(target=self._start, args=[steps], name="start", daemon=True)
        self._thread.start()

    def _start(self, steps: Sequence[Step]) -> None:
        try:
            for step in steps:
                self._start_step(step)
        except StoppedError:
            logger.info("stopped before it was ready")
        except Exception:
            self._status.report_problem("The service could not start; see the log.")
            logger.exception("the service could not start")
        else:
            logger.info("ready")
        self.settled.set()

    def _start_step(self, step: Step) -> None:
        while True:
            if self._stopping.is_set():
                raise StoppedError
            try:
                step.start()
            except self._retried as error:
                problem = f"{self._problem}: {error}"
                if problem != self._reported:
                    logger.critical(problem)
                self._reported = problem
                self.report_problem(problem)
                self.pause(RETRY_S)
            else:
                self._started.append(step)
                if self._stopping.is_set():  # ``drain`` may have missed it
                    step.drain()
                return

    def report_problem(self, problem: str) -> None:
        """Show why the start waits, and let requests that wait for it be answered."""
        if not self._stopping.is_set():
            self._status.report_problem(problem)
        self.settled.set()

    def pause(self, seconds: float) -> None:
        """Sleep in a step. Raises StoppedError as soon as the service is stopped."""
        if self._stopping.wait(seconds):
            raise StoppedError

    def drain(self) -> None:
        """Report that the service stops, and drain the steps; requests that still arrive are answered."""
        self._stopping.set()
        self._status.begin_stopping()
        for step in reversed(self._started):
            step.drain()

    def stop(self) -> None:
        """Drain, then stop everything that has started. For the time after the last request."""
        self.drain()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)
        while self._started:
            step = self._started.pop()
            try:
                step.stop()
            except Exception:  # the steps before it must still be stopped
                logger.exception("%s could not be stopped", step.name)
        logger.info("stopped")
