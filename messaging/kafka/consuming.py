"""Delivers work hints from Kafka: a thread with a consumer of the group of all processors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, Message

from messaging import hints
from messaging.kafka.address import Address
from messaging.kafka.announcing import RETENTION
from messaging.kafka.client import POLL_S, Reports, outside_hub, prepare_topic
from messaging.kafka.thread import KafkaThread
from messaging.port import HintHandler

logger: Final = logging.getLogger(__name__)

OLD_S: Final = 60.0
"""Hints that are older are ignored: polling has found their work long ago."""
BATCH_MAX: Final = 100

_WAIT_S: Final = 0.25
"""How often an idle thread looks for the end."""
_SETTINGS: Final = {
    "auto.offset.reset": "latest",
    "enable.auto.offset.store": False,
    "auto.commit.interval.ms": 1_000,
    # A new member waits for the members that died: at most this long, and half of it at the first start of a group.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_500,
    "fetch.wait.max.ms": 100,
    # Hints are small. The bounds are for foreign messages: of a longer one than a fetch the broker sends it alone.
    "max.partition.fetch.bytes": 65_536,
    "fetch.max.bytes": 1_048_576,
    "queued.max.messages.kbytes": 1_024,
}


class Consuming:
    """The consuming side of a queue. For many threads; handlers run in its thread."""

    def __init__(self, address: Address, topic: str, group: str, now: Callable[[], float]) -> None:
        self._address, self._topic, self._group, self._now = address, topic, group, now
        self._thread = KafkaThread("payments processor", self._serve)
        self._lock = threading.Lock()
        self._started = self._closed = False
        self._handlers: dict[str, HintHandler] = {}
        self.received = self.malformed = self.old = 0
        """See ``KafkaQueue``."""

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

    def _serve(self) -> None:
        prepare_topic(self._address, self._topic, RETENTION)
        reports = Reports(self._address)
        settings = reports.settings({**_SETTINGS, "group.id": self._group})
        clients = [outside_hub(lambda: Consumer(settings))]
        try:
            clients[0].subscribe([self._topic])
            self._thread.connected()
            while not self._thread.stopping.is_set():
                messages = outside_hub(lambda: _next(clients[0]))
                reports.write()
                reports.is_down = reports.is_down and not messages
                for message in messages:
                    if self._thread.stopping.is_set():
                        return
                    if (error := message.error()) is not None:
                        raise reports.unavailable(error)
                    self._deliver(message)
                    if len(message.value() or b"") > hints.HINT_MAX:
                        time.sleep(POLL_S)
                    with suppress(KafkaException):  # the partition has another owner now
                        clients[0].store_offsets(message)
                if reports.is_fatal:
                    raise reports.unavailable()
        finally:
            outside_hub(lambda: _end(clients, leave=not reports.is_down))
            reports.write()

    def _deliver(self, message: Message) -> None:
        """Hand a hint to its handler, whatever comes of it."""
        kind, created_ms = message.timestamp()
        if kind != TIMESTAMP_NOT_AVAILABLE and self._now() - created_ms / 1000 > OLD_S:
            self.old += 1
            return
        try:
            hint = hints.decode(message.value() or b"")
        except hints.MalformedHintError as error:
            self._count_malformed(str(error))
            return
        handler = self._handlers.get(hint.gateway)
        if handler is None:
            return
        self.received += 1
        try:
            handler(hint)
        except Exception:  # the hint is acknowledged; polling finds its work
            logger.exception("a work hint was not handled", extra={"fields": {"work_id": hint.work_id}})

    def _count_malformed(self, problem: str) -> None:
        self.malformed += 1
        if self.malformed == 1:
            logger.warning(
                "a message in the topic of work hints is no hint; it is dropped, and later ones are only counted: %s",
                problem,
                extra={"fields": {"topic": self._topic}},
            )


def _next(consumer: Consumer) -> Sequence[Message]:
    """The next messages. A batch alone would wait for its last one."""
    first = consumer.poll(_WAIT_S)
    return [] if first is None else [first, *consumer.consume(BATCH_MAX - 1, 0)]


def _end(clients: list[Consumer], *, leave: bool) -> None:
    """End the only consumer. One that leaves its group commits first, and waits for the broker as long as a session."""
    if leave:
        clients[0].close()
    clients.clear()
