"""Delivers work hints from RabbitMQ: a thread with one channel for each gateway, and acknowledgements by hand."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Collection
from typing import Final

import amqp

from messaging import hints
from messaging.port import HintHandler
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.link import Link
from messaging.rabbitmq.thread import ANSWER_S, YIELD_S, LinkThread
from messaging.rabbitmq.topology import DELETED_S, REFUSED_S, Names, Topology, refusal_of

logger: Final = logging.getLogger(__name__)

PREFETCH: Final = 100
"""The most hints of a gateway that the broker sends ahead of their acknowledgement."""

_IDLE_S: Final = 0.25
"""How often an idle thread looks for new subscriptions and for the end."""
_GLANCE_S: Final = 0.001
_YIELD_EVERY: Final = 50
"""Hints after which other threads run. After a longer message than a hint they run at once."""


class Consuming:
    """The consuming side of a queue. For many threads; handlers run in its thread."""

    def __init__(self, address: Address, names: Names) -> None:
        self._topology = Topology(names, address)
        self._thread = LinkThread(address, "payments processor", self._serve)
        self._lock = threading.Lock()
        self._started = self._closed = False
        self._handlers: dict[str, HintHandler] = {}
        self._consumed: set[str] = set()
        """The gateways whose queues this connection consumes."""
        self._not_before: dict[str, float] = {}
        """By gateway: when it may be consumed again on this connection (monotonic)."""
        self._deliveries: deque[tuple[str, amqp.Message]] = deque()
        self._answer_by = math.inf
        """When the wait for an answer ends (monotonic)."""
        self.received = self.malformed = 0
        """See ``RabbitmqQueue``."""

    def subscribe(self, gateways: Collection[str], handler: HintHandler) -> None:
        """Deliver hints of ``gateways`` to ``handler``."""
        with self._lock:
            if self._closed:
                return
            self._handlers = {**self._handlers, **dict.fromkeys(gateways, handler)}
            if not self._started:
                self._started = True
                self._thread.start()

    def stop(self) -> None:
        """Deliver nothing more, and ask the thread to end."""
        with self._lock:
            self._closed = True
        self._thread.stop()

    def join(self, deadline: float) -> None:
        """Wait for the end of the thread until ``deadline`` (monotonic)."""
        if self._started:
            self._thread.join(deadline)

    def _serve(self, link: Link) -> None:
        self._consumed, self._not_before = set(), {}
        self._deliveries.clear()
        since_yield = 0
        while not self._thread.stopping.is_set():
            more = self._consume_missing(link)
            try:
                link.receive(_GLANCE_S if more else _IDLE_S)
            except TimeoutError:
                link.beat()
            while self._deliveries and not self._thread.stopping.is_set():
                gateway, message = self._deliveries.popleft()
                self._deliver(gateway, message)
                since_yield += 1 if len(message.body or b"") <= hints.HINT_MAX else _YIELD_EVERY
                if since_yield >= _YIELD_EVERY:
                    since_yield = 0
                    time.sleep(YIELD_S)

    def _consume_missing(self, link: Link) -> bool:
        """Consume one more queue; returns False when none is missing. Deliveries of the others go on in between."""
        now = time.monotonic()
        for gateway in self._handlers:
            if gateway not in self._consumed and self._not_before.get(gateway, now) <= now:
                self._topology.note(gateway, self._consume(link, gateway))
                return True
        return False

    def _consume(self, link: Link, gateway: str) -> str:
        """Declare and consume the queue of ``gateway``. Returns what the broker refuses; may be empty.

        A queue that does not answer blocks its channel in the broker, so each has its own.
        """
        channel = link.channel()
        channel.auto_decode = False  # a foreign message may name any encoding

        def begin() -> None:
            channel.basic_qos(0, PREFETCH, a_global=False)
            channel.basic_consume(
                self._topology.names.queue(gateway),
                callback=lambda message: self._arrived(gateway, message),
                on_cancel=lambda _: self._cancelled(gateway),
            )

        self._answer_by = time.monotonic() + ANSWER_S
        try:
            problem = self._topology.declare(channel, gateway)
            refusal = refusal_of(begin)
        except TimeoutError:
            problem = refusal = f"no answer within {ANSWER_S:g} s"
        finally:
            self._answer_by = math.inf
        if refusal:
            self._not_before[gateway] = time.monotonic() + REFUSED_S
            link.abandon(channel)
        else:
            self._consumed.add(gateway)
        return refusal or problem

    def _arrived(self, gateway: str, message: amqp.Message) -> None:
        """Keep a message until the thread is free for it. It must not prolong the wait for an answer."""
        self._deliveries.append((gateway, message))
        if time.monotonic() > self._answer_by:
            raise TimeoutError

    def _cancelled(self, gateway: str) -> None:
        """The queue was deleted."""
        self._not_before[gateway] = time.monotonic() + DELETED_S
        self._consumed.discard(gateway)

    def _deliver(self, gateway: str, message: amqp.Message) -> None:
        """Hand a hint to its handler, and acknowledge it even if the handler failed."""
        try:
            hint = hints.decode(message.body or b"", gateway)
        except hints.MalformedHintError as error:
            self._count_malformed(gateway, str(error))
        else:
            self.received += 1
            try:
                self._handlers[gateway](hint)
            except Exception:  # the hint is acknowledged; polling finds its work
                logger.exception("a work hint was not handled", extra={"fields": {"work_id": hint.work_id}})
        message.channel.basic_ack(message.delivery_tag)

    def _count_malformed(self, gateway: str, problem: str) -> None:
        self.malformed += 1
        if self.malformed == 1:
            logger.warning(
                "a message in a queue of work hints is no hint; it is dropped, and later ones are only counted: %s",
                problem,
                extra={"fields": {"gateway": gateway, "queue": self._topology.names.queue(gateway)}},
            )
