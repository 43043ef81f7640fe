"""Announces work hints on RabbitMQ: a bounded buffer, and a thread that publishes from it in confirmed batches."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Final

from messaging import hints
from messaging.port import WorkHint
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.frames import Outgoing
from messaging.rabbitmq.link import Confirms, Link, UnconfirmedError
from messaging.rabbitmq.thread import YIELD_S, LinkThread
from messaging.rabbitmq.topology import DELETED_S, HINT_TTL_MS, REFUSED_S, Names, Topology

BUFFER_MAX: Final = 10_000
BATCH_MAX: Final = 50

_IDLE_S: Final = 1.0
"""How often an idle connection is looked at: a lost one is replaced before the next hint needs it."""

_AGAIN_S: Final = 0.1
"""The wait before refused hints are published again."""


class Announcing:
    """The announcing side of a queue. For many threads."""

    def __init__(self, address: Address, names: Names, *, buffer_max: int, confirm_s: float) -> None:
        self._topology, self._buffer_max, self._confirm_s = Topology(names, address), buffer_max, confirm_s
        self._thread = LinkThread(address, "payments announcer", self._serve, self._forget_all)
        self._lock = threading.Lock()
        self._buffer: deque[WorkHint] = deque()
        self._filled = threading.Event()
        self._started = self._closed = False
        self._senders: dict[str, Confirms] = {}
        """By gateway that was declared on this connection."""
        self._renew_at: dict[str, float] = {}
        """By gateway whose queue was deleted: when to declare it anew (monotonic)."""
        self._usable_at: dict[str, float] = {}
        """By gateway whose queue does not answer: until when its hints are lost (monotonic)."""
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
        self._senders, self._renew_at, self._usable_at = {}, {}, {}
        while not self._thread.stopping.is_set():
            batch = self._take()
            if not batch:
                link.keep_alive()
                continue
            lost = len(batch)
            try:
                for gateway in {hint.gateway for hint in batch}:
                    ours = [hint for hint in batch if hint.gateway == gateway]
                    lost -= self._publish(link, gateway, ours)
            finally:
                with self._lock:
                    self.announced += len(batch) - lost
                    self.lost += lost
            time.sleep(YIELD_S)

    def _publish(self, link: Link, gateway: str, batch: list[WorkHint]) -> int:
        """Publish hints of one gateway; returns how many are confirmed.

        Refused ones are published once more: a queue that is being made refuses at first. A queue that does not answer
        blocks its channel in the broker. It gets a new one after some time, and its hints are lost until then.
        """
        if self._usable_at.get(gateway, 0.0) > time.monotonic():
            return 0
        messages = [_outgoing(place, hint) for place, hint in enumerate(batch)]
        try:
            confirms = self._sender(link, gateway)
            refused = confirms.publish(messages)
            if refused and not self._thread.stopping.wait(_AGAIN_S):
                refused = confirms.publish([messages[place] for place in refused])
        except UnconfirmedError as error:
            self._topology.note(gateway, str(error))
            self._usable_at[gateway] = time.monotonic() + REFUSED_S
            link.abandon(self._senders.pop(gateway).channel)
            return len(batch) - len(error.places)
        if self._usable_at.pop(gateway, None) is not None:
            self._topology.note(gateway, "")
        return len(batch) - len(refused)

    def _sender(self, link: Link, gateway: str) -> Confirms:
        """The channel of a gateway, after the declaration of its queue."""
        if self._renew_at.get(gateway, math.inf) <= time.monotonic():
            link.abandon(self._senders.pop(gateway).channel)
        if gateway not in self._senders:
            channel = link.channel()
            self._renew_at.pop(gateway, None)
            if problem := self._topology.declare(channel, gateway):
                self._topology.note(gateway, problem)
            exchange = self._topology.names.exchange
            self._senders[gateway] = Confirms(link, channel, exchange, self._returned, confirm_s=self._confirm_s)
        return self._senders[gateway]

    def _take(self) -> list[WorkHint]:
        self._filled.wait(_IDLE_S)
        with self._lock:
            batch = [self._buffer.popleft() for _ in range(min(len(self._buffer), BATCH_MAX))]
            if not self._buffer:
                self._filled.clear()
        return batch

    def _returned(self, gateway: str) -> None:
        """The queue was deleted."""
        self.unroutable += 1
        self._renew_at.setdefault(gateway, time.monotonic() + DELETED_S)

    def _forget_all(self) -> None:
        """Lose the hints of the buffer: the broker is away for longer than polling takes."""
        with self._lock:
            self.lost += len(self._buffer)
            self._buffer.clear()
            self._filled.clear()


def _outgoing(place: int, hint: WorkHint) -> Outgoing:
    return Outgoing(
        place, hint.gateway, hints.encode(hint), content_type="application/json", expiration=str(HINT_TTL_MS)
    )
