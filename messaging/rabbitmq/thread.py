"""A thread that keeps one connection to RabbitMQ: it connects again after each loss, with growing waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import amqp

from messaging.rabbitmq.address import Address
from messaging.rabbitmq.link import Link

logger: Final = logging.getLogger(__name__)

RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 10.0
STOP_S: Final = 1.9
"""How long a stop waits for the thread."""
YIELD_S: Final = 0.001
"""A wait in which other threads run. For 0 s gevent would not look at its timers."""

ANSWER_S: Final = 2.0
"""The longest wait for an answer of the broker, and for a confirm. A hint is of no use after it."""

_CONNECT_S: Final = 1.5
"""Shorter than a stop may take: a connect to a host that does not answer cannot be interrupted everywhere."""
_POLITE_S: Final = 1.0
"""How long a stop waits before it interrupts what the thread does."""


class LinkThread:
    """Runs ``serve`` on an open link until ``stop``, and on a new link after each error. A greenlet under gevent.

    ``serve`` returns soon once ``stopping`` is set. ``failed`` is called after an attempt to connect has failed.
    """

    def __init__(
        self, address: Address, name: str, serve: Callable[[Link], None], failed: Callable[[], None] = lambda: None
    ) -> None:
        self._address, self._name, self._serve, self._failed = address, name, serve, failed
        self._link: Link | None = None
        self._retry_s = RETRY_FIRST_S
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stopping: Final = threading.Event()
        self.problem: str | None = None
        """Why there is no connection; None while there is one."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. ``join`` waits for it."""
        self.stopping.set()

    def join(self, deadline: float) -> None:
        """Wait for the end of the thread until ``deadline`` (monotonic). Interrupts it when it does not end by itself.

        A thread that waits for a name server ends later; it delivers nothing any more.
        """
        if self._thread is threading.current_thread():
            return
        self._thread.join(max(deadline - STOP_S + _POLITE_S - time.monotonic(), 0))
        if self._thread.is_alive():
            link = self._link
            if link is not None:
                link.interrupt()
            self._thread.join(max(deadline - time.monotonic(), 0))

    def _run(self) -> None:
        while not self.stopping.is_set():
            began = None
            try:
                link = self._link = Link(self._address, name=self._name, connect_s=_CONNECT_S, answer_s=ANSWER_S)
                link.open()
                began = time.monotonic()
                self._connected()
                self._serve(link)
                link.take_leave()
            except (OSError, amqp.AMQPError) as error:
                self._lost(str(error))
            except Exception as error:  # noqa: BLE001  # an error of the library about malformed bytes must not end the thread
                self._lost(f"{type(error).__name__}: {error}")
            finally:
                self._close()
            if began is None:
                self._failed()
            elif time.monotonic() - began > RETRY_MAX_S:
                self._retry_s = RETRY_FIRST_S
            self.stopping.wait(self._retry_s)
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)

    def _connected(self) -> None:
        if self.problem is not None:
            logger.info("%s: connected to RabbitMQ at %s again", self._name, self._address.server)
        self.problem = None

    def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _lost(self, error: str) -> None:
        if not self.stopping.is_set() and self.problem is None:
            logger.warning(
                "%s: no connection to RabbitMQ at %s, which is tried again: %s",
                self._name,
                self._address.server,
                self._address.hide(error),
            )
        self.problem = self._address.problem(error)
