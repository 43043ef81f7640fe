"""Publishes events to Kafka: one topic, keyed by the partition key, confirmed by all in-sync replicas.

The topic is created with 12 partitions when it is absent; one that exists stays as it is. Attributes of CloudEvents are
headers with the prefix ``ce_`` in binary mode. A producer that failed is purged and closed before the next one is made.
So no message of an abandoned batch is sent later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from messaging.cloud_events import CONTENT_TYPE, KAFKA_PREFIX, STRUCTURED_CONTENT_TYPE, headers
from messaging.cloud_events import structured as structured_body
from messaging.kafka.address import Address
from messaging.kafka.client import CONNECT_S, POLL_S, Reports, outside_hub, prepare_topic
from messaging.port import Message, Published
from messaging.waves import Numbered, publish_in_waves

TOPIC: Final = "payments.events.v1"
CONFIRM_S: Final = 10.0
"""The longest wait for the confirms of a wave."""
PING_S: Final = 10.0
"""An idle connection is tested after so long."""

_REFUSALS: Final = frozenset(
    {
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.POLICY_VIOLATION,
        KafkaError.RECORD_LIST_TOO_LARGE,
    }
)
"""Errors about a message, which a repetition would get again. The broker may return one for all of a request."""


class KafkaPublisher:
    """Implements ``messaging.port.Publisher`` with one producer, which is made when it is first needed."""

    def __init__(
        self,
        url: str,
        *,
        structured: bool = False,
        topic: str = TOPIC,
        monotonic: Callable[[], float] = time.monotonic,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self._address = Address.of(url)
        self._structured, self._topic = structured, topic
        self._monotonic, self._confirm_s = monotonic, confirm_s
        self._link: _Link | None = None

    def publish(self, batch: Sequence[Message]) -> Published:
        """See ``messaging.port.Publisher``."""
        try:
            if batch:
                return publish_in_waves(batch, self._send)
            self._connected().keep_alive()
        except BaseException:
            self.close()
            raise
        return Published(0)

    def close(self) -> None:
        """See ``messaging.port.Publisher``."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _send(self, wave: Sequence[Numbered]) -> Mapping[int, str]:
        """Publish ``wave``. A refusal ends the producer, because a gap would follow: the rest is sent one by one."""
        link = self._connected()
        errors = link.publish(wave)
        if not errors:
            return {}
        self.close()
        if not any(error.code() in _REFUSALS for error in errors.values()):
            raise link.reports.unavailable(next(iter(errors.values())))
        if len(wave) == 1:
            return {place: self._address.hide(error.str()) for place, error in errors.items()}
        for one in wave:
            if one.place in errors and (refusals := self._send([one])):
                return refusals  # as a rule the others would be refused, too
        return {}

    def _connected(self) -> _Link:
        if self._link is not None and self._link.is_down():
            self.close()
        if self._link is None:
            self._link = _Link(self._address, self._topic, self._structured, self._monotonic, self._confirm_s)
        return self._link


class _Link:
    """One producer. Raises BrokerUnavailableError, and cannot be used after an error."""

    def __init__(
        self,
        address: Address,
        topic: str,
        structured: bool,  # noqa: FBT001  # private
        monotonic: Callable[[], float],
        confirm_s: float,
    ) -> None:
        self._topic, self._structured, self._monotonic, self._confirm_s = topic, structured, monotonic, confirm_s
        self.reports = Reports(address)
        settings = self.reports.settings(
            {
                "acks": "all",
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "partitioner": "murmur2_random",
                "linger.ms": 0,  # a wave is sent as a whole and waited for
                "message.timeout.ms": int(confirm_s * 1000),
                "request.timeout.ms": int(confirm_s * 1000),
            }
        )
        prepare_topic(address, topic, {})
        self._producer = outside_hub(lambda: Producer(settings))
        try:
            self._ping()
        except BaseException:
            self.close()
            raise

    def publish(self, wave: Sequence[Numbered]) -> dict[int, KafkaError]:
        """Publish ``wave`` and wait for all delivery reports; returns the errors by place."""
        end = self._monotonic() + self._confirm_s
        results: dict[int, KafkaError | None] = {}
        for place, message in wave:
            try:
                self._produce(message, partial(_note, results, place))
            except KafkaException as failure:
                results[place] = failure.args[0]
        while len(results) < len(wave):
            self._poll()
            if len(results) == len(wave):
                break
            if self.reports.is_down:
                raise self.reports.unavailable()
            if self._monotonic() >= end:
                raise self.reports.unavailable(f"no confirm within {self._confirm_s:g} s")
            time.sleep(POLL_S)
        self._used_at = self._monotonic()
        return {place: error for place in sorted(results) if (error := results[place]) is not None}

    def keep_alive(self) -> None:
        """Test the connection when it was idle for long."""
        if self._monotonic() - self._used_at >= PING_S:
            self._ping()

    def is_down(self) -> bool:
        """Whether the connection was lost since it was used last."""
        self._poll()
        return self.reports.is_down or self.reports.is_fatal

    def close(self) -> None:
        """End the producer; what it has not sent yet is never sent."""
        outside_hub(self._end)
        self.reports.write()

    def _produce(self, message: Message, on_delivery: Callable[[KafkaError | None, object], None]) -> None:
        if self._structured:
            value, attributes, content_type = structured_body(message), {}, STRUCTURED_CONTENT_TYPE
        else:
            value, attributes, content_type = message.data, headers(message, KAFKA_PREFIX), CONTENT_TYPE
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value,
                    message.partition_key,
                    headers=[*attributes.items(), ("content-type", content_type)],
                    on_delivery=on_delivery,
                )
            except BufferError:  # librdkafka's own buffer is full
                self._poll()
                time.sleep(POLL_S)
            else:
                return

    def _poll(self) -> None:
        """Let librdkafka call back. Must never be called from a callback."""
        try:
            self._producer.poll(0)
        except KafkaException as failure:  # a fatal error; the delivery reports that follow hold those of the messages
            self.reports.end(failure.args[0])
        self.reports.write()

    def _ping(self) -> None:
        try:
            outside_hub(lambda: self._producer.list_topics(self._topic, CONNECT_S))
        except KafkaException as error:
            self._poll()
            raise self.reports.unavailable(error.args[0]) from error
        self._used_at = self._monotonic()

    def _end(self) -> None:
        self._producer.purge()
        with suppress(KafkaException):  # the messages that were purged are a fatal error to the producer
            self._producer.close()


def _note(results: dict[int, KafkaError | None], place: int, error: KafkaError | None, _message: object) -> None:
    """Receive the delivery report of one message."""
    results[place] = error
