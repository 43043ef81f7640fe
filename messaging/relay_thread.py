"""The thread of a process's relay or announcer: a greenlet once gevent has patched threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

logger: Final = logging.getLogger(__name__)

STOP_WITHIN_S: Final = 2.0
"""How long a stop waits for the present step, which may wait for a broker that does not answer."""
_YIELD_S: Final = 0.001
"""The least wait between two steps, in which other greenlets run."""


class Runnable(Protocol):
    """What leads under a lease: the relay of events, or the announcer of work."""

    def run(self, wait: Callable[[float], bool], /) -> None:
        """Work until ``wait``, which gets the seconds to wait, returns True. Then give the lease back."""


class RelayThread:
    """Runs one relay or announcer from ``start`` to ``stop``. ``name`` is for the log."""

    def __init__(self, relay: Runnable, name: str = "relay") -> None:
        self._name = name
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=relay.run, args=[self._wait], name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def stop(self) -> None:
        """End the thread, which gives the lease back. If it does not end in time, the lease expires by itself."""
        self.end()
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            logger.warning("the %s still waits: its lease ends when it expires", self._name)

    def _wait(self, seconds: float) -> bool:
        return self._stopping.wait(max(seconds, _YIELD_S))
