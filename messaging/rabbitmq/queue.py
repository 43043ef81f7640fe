"""The queue of work hints over RabbitMQ: one quorum queue for each gateway, shared by all processors.

Announcements and deliveries have a thread with a connection of its own each. It starts with the first announcement or
subscription, so nothing is opened before a fork. Each hint gets one attempt: polling finds the work of lost ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Final

from messaging.port import HintHandler, WorkHint
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.announcing import BUFFER_MAX, Announcing
from messaging.rabbitmq.consuming import Consuming
from messaging.rabbitmq.thread import ANSWER_S, STOP_S
from messaging.rabbitmq.topology import Names


class RabbitmqQueue:
    """Implements ``messaging.port.WorkQueue``. Its counters are for metrics, and only go up."""

    def __init__(
        self,
        url: str,
        *,
        names: Names = Names(),  # noqa: B008  # it is immutable
        buffer_max: int = BUFFER_MAX,
        confirm_s: float = ANSWER_S,
    ) -> None:
        """Open nothing. Raises ValueError for a URL that the adapter does not accept."""
        address = Address.of(url)
        self._announcing: Final = Announcing(address, names, buffer_max=buffer_max, confirm_s=confirm_s)
        self._consuming: Final = Consuming(address, names)
        self._lock = threading.Lock()

    @property
    def announced(self) -> int:
        """Hints that the broker has confirmed."""
        return self._announcing.announced

    @property
    def unroutable(self) -> int:
        """Those of them that no queue was bound for."""
        return self._announcing.unroutable

    @property
    def lost(self) -> int:
        """Hints that were dropped from the buffer, refused, not confirmed in time, or announced after ``close``."""
        return self._announcing.lost

    @property
    def received(self) -> int:
        """Hints that a handler got, repetitions included."""
        return self._consuming.received

    @property
    def malformed(self) -> int:
        """Messages that were no hint of their queue's gateway. They are acknowledged and dropped."""
        return self._consuming.malformed

    def announce(self, hint: WorkHint, /) -> None:
        """See WorkQueue."""
        self._announcing.announce(hint)

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """See WorkQueue."""
        self._consuming.subscribe(gateways, handler)

    def close(self) -> None:
        """See WorkQueue. Takes 2 s at most."""
        for side in (self._announcing, self._consuming):
            side.stop()
        deadline = time.monotonic() + STOP_S
        for side in (self._announcing, self._consuming):
            side.join(deadline)
