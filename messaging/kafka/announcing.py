"""Announces work hints on Kafka: a bounded buffer, and a thread that hands its hints to a producer."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from messaging import hints
from messaging.kafka.address import Address
from messaging.kafka.client import Reports, outside_hub, prepare_topic
from messaging.kafka.thread import KafkaThread
from messaging.port import WorkHint

BUFFER_MAX: Final = 10_000
BATCH_MAX: Final = 200
RETENTION: Final = {"retention.ms": "60000"}
"""Of the topic, when it is created here."""

_IDLE_S: Final = 1.0
_REPORT_S: Final = 0.05
"""How often delivery reports are counted while some are missing."""
_SETTINGS: Final = {
    "acks": "1",
    "linger.ms": 5,
    "message.timeout.ms": 5_000,  # by then polling has found the work
}


class Announcing:
    """The announcing side of a queue. For many threads."""

    def __init__(self, address: Address, topic: str, *, buffer_max: int) -> None:
        self._address, self._topic, self._buffer_max = address, topic, buffer_max
        self._thread = KafkaThread("payments announcer", self._serve, self._forget_all)
        self._lock = threading.Lock()
        self._buffer: deque[WorkHint] = deque()
        self._filled = threading.Event()
        self._started = self._closed = False
        self._dropped = self._undelivered = 0
        self.announced = 0
        """See ``KafkaQueue``."""

    @property
    def lost(self) -> int:
        """See ``KafkaQueue``."""
        return self._dropped + self._undelivered

    def announce(self, hint: WorkHint) -> None:
        """Put ``hint`` into the buffer, in place of the oldest one when it is full."""
        with self._lock:
            if self._closed:
                self._dropped += 1
                return
            if len(self._buffer) >= self._buffer_max:
                self._buffer.popleft()
                self._dropped += 1
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

    def _serve(self) -> None:
        prepare_topic(self._address, self._topic, RETENTION)
        reports = Reports(self._address)
        settings = reports.settings(_SETTINGS)
        producer = outside_hub(lambda: Producer(settings))
        try:
            self._thread.connected()
            while not self._thread.stopping.is_set():
                for hint in self._take(_REPORT_S if len(producer) else _IDLE_S):
                    self._produce(producer, hint)
                producer.poll(0)
                reports.write()
                if reports.is_down or reports.is_fatal:
                    raise reports.unavailable()
        finally:
            outside_hub(lambda: _end(producer))
            reports.write()

    def _produce(self, producer: Producer, hint: WorkHint) -> None:
        try:
            producer.produce(self._topic, hints.encode(hint), on_delivery=self._delivered)
        except (BufferError, KafkaException):
            self._undelivered += 1

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        """Count a delivery report. Called by librdkafka while the thread polls or closes the producer."""
        if error is None:
            self.announced += 1
        else:
            self._undelivered += 1

    def _take(self, wait_s: float) -> list[WorkHint]:
        self._filled.wait(wait_s)
        with self._lock:
            batch = [self._buffer.popleft() for _ in range(min(len(self._buffer), BATCH_MAX))]
            if not self._buffer:
                self._filled.clear()
        return batch

    def _forget_all(self) -> None:
        """Lose the hints of the buffer: the broker is away for longer than polling takes."""
        with self._lock:
            self._dropped += len(self._buffer)
            self._buffer.clear()
            self._filled.clear()


def _end(producer: Producer) -> None:
    producer.purge()
    with suppress(KafkaException):
        producer.close()
