"""The queue of work hints over Kafka: one topic, whose partitions the processors share as one group.

A hint reaches the process that has its partition at the moment. That process drops it when it does not serve the
hint's gateway, so processes of one group should serve the same gateways. Announcements and deliveries have a thread and
a client of their own each, which start with the first announcement or subscription: nothing is opened before a fork.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from messaging.kafka.address import Address
from messaging.kafka.announcing import BUFFER_MAX, Announcing
from messaging.kafka.consuming import Consuming
from messaging.port import HintHandler, WorkHint

TOPIC: Final = "payments.work.v1"
GROUP: Final = "payments-processor"
STOP_S: Final = 1.9
"""How long a stop waits for the threads."""


class KafkaQueue:
    """Implements ``messaging.port.WorkQueue``. Its counters are for metrics, and only go up."""

    def __init__(
        self,
        url: str,
        *,
        topic: str = TOPIC,
        group: str = GROUP,
        buffer_max: int = BUFFER_MAX,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Open nothing. Raises ValueError for a URL that the adapter does not accept."""
        address = Address.of(url)
        self._announcing: Final = Announcing(address, topic, buffer_max=buffer_max)
        self._consuming: Final = Consuming(address, topic, group, now)

    @property
    def announced(self) -> int:
        """Hints that the broker has confirmed."""
        return self._announcing.announced

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
        """Messages that were no hint."""
        return self._consuming.malformed

    @property
    def old(self) -> int:
        """Messages that were ignored for their age."""
        return self._consuming.old

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
