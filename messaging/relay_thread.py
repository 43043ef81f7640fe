"""The thread of a process's relay: a greenlet once gevent has patched threads."""

from __future__ import annotations

import logging
import threading
from typing import Final

from messaging.relay import Relay

logger: Final = logging.getLogger(__name__)

STOP_WITHIN_S: Final = 2.0
"""How long a stop waits for the present step, which may wait for a broker that does not answer."""
_YIELD_S: Final = 0.001
"""The least wait between two steps, in which other greenlets run."""


class RelayThread:
    """Runs one relay from ``start`` to ``stop``."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=relay.run, args=[self._wait], name="relay", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, which gives the lease back. If it does not end in time, the lease expires by itself."""
        self._stopping.set()
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            logger.warning("the relay still waits for the broker: its lease ends when it expires")

    def _wait(self, seconds: float) -> bool:
        return self._stopping.wait(max(seconds, _YIELD_S))
