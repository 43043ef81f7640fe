"""A thread that keeps one client of Kafka: it makes another one after each failure, with growing waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaException

from messaging.port import BrokerUnavailableError

logger: Final = logging.getLogger(__name__)

RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 10.0


class KafkaThread:
    """Runs ``serve`` until ``stop``, and again after each failure. A greenlet under gevent.

    ``serve`` returns soon once ``stopping`` is set, calls ``connected`` once the broker answers, and closes what it
    opens. ``failed`` is called after each failure.
    """

    def __init__(self, name: str, serve: Callable[[], None], failed: Callable[[], None] = lambda: None) -> None:
        self._name, self._serve, self._failed = name, serve, failed
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._retry_s = RETRY_FIRST_S
        self.stopping: Final = threading.Event()
        self.problem: str | None = None
        """Why there is no connection; None while there is one."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self.stopping.set()

    def join(self, deadline: float) -> None:
        """Wait for the end of the thread until ``deadline`` (monotonic). One that ends later delivers nothing more."""
        if self._thread is not threading.current_thread():
            self._thread.join(max(deadline - time.monotonic(), 0))

    def connected(self) -> None:
        """Note that the broker answers."""
        if self.problem is not None:
            logger.info("%s: connected to Kafka again", self._name)
        self.problem, self._retry_s = None, RETRY_FIRST_S

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._serve()
            except (BrokerUnavailableError, KafkaException) as error:
                self._lost(str(error))
            except Exception:  # a defect must not end the thread: hints would be lost from then on
                logger.exception("%s: unexpected error", self._name)
                self._failed()
            if self.stopping.wait(self._retry_s):
                return
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)

    def _lost(self, problem: str) -> None:
        if not self.stopping.is_set() and self.problem is None:
            logger.warning("%s: no connection to Kafka, which is tried again: %s", self._name, problem)
        self.problem = problem
        self._failed()
