"""Announces work hints on RabbitMQ: a bounded buffer, and a thread that publishes from it in confirmed batches."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Final

import amqp

from messaging import hints
from messaging.port import WorkHint
from messaging.rabbitmq_link import PERSISTENT, Address, Confirms, Link, Outgoing
from messaging.rabbitmq_thread import YIELD_S, LinkThread
from messaging.rabbitmq_topology import DELETED_S, HINT_TTL_MS, Names, Topology

BUFFER_MAX: Final = 10_000
BATCH_MAX: Final = 50

_IDLE_S: Final = 1.0
"""How often an idle connection is looked at: a lost one is replaced before the next hint needs it."""

_REFUSED_S: Final = 0.1
"""The wait before refused hints are published again."""


class Announcing:
    """The announcing side of a queue. For many threads."""

    def __init__(self, address: Address, names: Names, *, buffer_max: int, confirm_s: float) -> None:
        self._topology, self._buffer_max, self._confirm_s = Topology(names), buffer_max, confirm_s
        self._thread = LinkThread(address, "payments announcer", self._serve, self._forget_all)
        self._lock = threading.Lock()
        self._buffer: deque[WorkHint] = deque()
        self._filled = threading.Event()
        self._started = self._closed = False
        self._declare_at: dict[str, float] = {}
        """By gateway that was declared on this connection: when to declare it again (monotonic)."""
        self.announced = self.unroutable = self.lost = 0
        """See ``RabbitmqQueue``."""

    def announce(self, hint: WorkHint) -> None:
        """Put ``hint`` into the buffer, in place of the oldest one when it is full."""
        with self._lock:
            if self._closed:
                self.lost += 1
                return
            if len(self._buffer) >= self._buffer_max:
                self._buffer.popleft()
                self.lost += 1
            self._buffer.append(hint)
            if not self._started:
                self._started = True
                self._thread.start()
        self._filled.set()

    def stop(self) -> None:
        """Lose what waits, and ask the thread to end."""
        with self._lock:
            self._closed = True
        self._thread.stop()
        self._forget_all()
        self._filled.set()

    def join(self, deadline: float) -> None:
        """Wait for the end of the thread until ``deadline`` (monotonic)."""
        if self._started:
            self._thread.join(deadline)

    def _serve(self, link: Link) -> None:
        self._declare_at = {}
        channel = link.channel()
        confirms = Confirms(link, self._topology.names.exchange, self._returned, confirm_s=self._confirm_s)
        while not self._thread.stopping.is_set():
            batch = self._take()
            if not batch:
                link.keep_alive()
                continue
            unconfirmed = len(batch)
            try:
                self._declare(channel, {hint.gateway for hint in batch})
                unconfirmed = self._publish(confirms, batch)
            finally:
                with self._lock:
                    self.announced += len(batch) - unconfirmed
                    self.lost += unconfirmed
            time.sleep(YIELD_S)

    def _declare(self, channel: amqp.Channel, gateways: set[str]) -> None:
        now = time.monotonic()
        for gateway in gateways:
            if self._declare_at.get(gateway, now) <= now:
                self._declare_at[gateway] = math.inf
                self._topology.note(gateway, self._topology.declare(channel, gateway))

    def _publish(self, confirms: Confirms, batch: list[WorkHint]) -> int:
        """Publish a batch, and once more what is refused: a queue that is being made refuses at first.

        Returns how many hints are refused again.
        """
        refused = confirms.publish([_outgoing(place, hint) for place, hint in enumerate(batch)])
        if refused and not self._thread.stopping.wait(_REFUSED_S):
            refused = confirms.publish([_outgoing(place, batch[place]) for place in refused])
        return len(refused)

    def _take(self) -> list[WorkHint]:
        self._filled.wait(_IDLE_S)
        with self._lock:
            batch = [self._buffer.popleft() for _ in range(min(len(self._buffer), BATCH_MAX))]
            if not self._buffer:
                self._filled.clear()
        return batch

    def _returned(self, gateway: str) -> None:
        self.unroutable += 1
        self._declare_at[gateway] = min(self._declare_at[gateway], time.monotonic() + DELETED_S)

    def _forget_all(self) -> None:
        """Lose the hints of the buffer: the broker is away for longer than polling takes."""
        with self._lock:
            self.lost += len(self._buffer)
            self._buffer.clear()
            self._filled.clear()


def _outgoing(place: int, hint: WorkHint) -> Outgoing:
    message = amqp.Message(
        hints.encode(hint),
        content_type="application/json",
        delivery_mode=PERSISTENT,
        expiration=str(HINT_TTL_MS),
    )
    return Outgoing(place, message, hint.gateway)
