"""The brokers that the contract of the publisher runs against; one class for each adapter."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import amqp
import pytest
from cloudevents.core.bindings import rabbitmq
from cloudevents.core.formats.json import JSONFormat

from messaging.port import Publisher
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.publishing import RabbitmqPublisher
from tests.messaging.cutting_proxy import CuttingProxy
from tests.messaging.delivery import FULL, Delivery
from tests.messaging.kafka_broker import Kafka
from tests.messaging.memory import MemoryBroker, MemoryPublisher

__all__ = ["BROKERS", "FULL", "RABBITMQ_URL", "Broker", "Delivery", "InMemory", "RabbitMQ"]

RABBITMQ_URL: Final = os.environ.get("PAYMENTS_TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")


class Broker(Protocol):
    """A broker with one consumer of everything."""

    def publisher(self) -> Publisher:
        """Make one more publisher."""

    def received(self) -> list[Delivery]:
        """Return everything that arrived since the last call, in order."""

    def fill(self) -> None:
        """Refuse messages of the merchant FULL from now on."""

    def empty(self) -> None:
        """Accept them again."""

    def go_away(self) -> None:
        """Answer nothing, and close all connections."""

    def come_back(self) -> None:
        """Answer again."""

    def lose_next_confirm(self) -> None:
        """Receive the next message and lose the connection before its confirm."""

    def close(self) -> None:
        """Clean up."""


class InMemory:
    """The broker in memory."""

    def __init__(self) -> None:
        self._broker = MemoryBroker()
        self._read = 0

    def publisher(self) -> Publisher:
        """See Broker."""
        return MemoryPublisher(self._broker)

    def received(self) -> list[Delivery]:
        """See Broker."""
        new, self._read = self._broker.delivered[self._read :], len(self._broker.delivered)
        return [Delivery(one.event_id, one.attributes, one.data) for one in new]

    def fill(self) -> None:
        """See Broker."""
        self._broker.refuses = lambda message: "full" if message.stream.name == FULL else None

    def empty(self) -> None:
        """See Broker."""
        self._broker.refuses = lambda _: None

    def go_away(self) -> None:
        """See Broker."""
        self._broker.is_up = False

    def come_back(self) -> None:
        """See Broker."""
        self._broker.is_up = True

    def lose_next_confirm(self) -> None:
        """See Broker."""
        self._broker.confirms_lost = 1

    def close(self) -> None:
        """See Broker: there is nothing to clean up."""


class RabbitMQ:
    """A RabbitMQ server behind a proxy, with an exchange and a queue of this test.

    The SDK of the CloudEvents project reads the messages, in whichever mode they are.
    """

    def __init__(self, *, structured: bool = False) -> None:
        self._structured = structured
        self._address = Address.of(RABBITMQ_URL)
        self.exchange = f"payments.test.{uuid.uuid4().hex}"
        self.queue, self._full = f"{self.exchange}.all", f"{self.exchange}.full"
        self.proxy = CuttingProxy((self._address.host, self._address.port))
        self._connection = amqp.Connection(
            host=f"{self._address.host}:{self._address.port}",
            userid=self._address.user,
            password=self._address.password,
            virtual_host=self._address.virtual_host,
        )
        self._connection.connect()
        self.channel = self._connection.channel()
        self.declare()
        self.publishers: list[RabbitmqPublisher] = []

    def declare(self) -> None:
        """Declare the exchange and bind the queue of everything."""
        self.channel.exchange_declare(self.exchange, "topic", durable=True, auto_delete=False)
        self.channel.queue_declare(self.queue, durable=True, auto_delete=False)
        self.channel.queue_bind(self.queue, self.exchange, "#")

    def publisher(self) -> RabbitmqPublisher:
        """See Broker."""
        address = self._address
        url = f"amqp://{address.user}:{address.password}@127.0.0.1:{self.proxy.port}{address.virtual_host}"
        self.publishers.append(
            RabbitmqPublisher(url, structured=self._structured, exchange=self.exchange, confirm_s=5.0)
        )
        return self.publishers[-1]

    def received(self) -> list[Delivery]:
        """See Broker."""
        found = []
        for got in self.raw():
            sent = rabbitmq.RabbitMQMessage(got.headers or {}, got.properties["content_type"], body_of(got))
            event = rabbitmq.from_rabbitmq(sent, JSONFormat())
            attributes = event.get_attributes()
            assert attributes.pop("datacontenttype") == "application/json"
            attributes["time"] = attributes["time"].isoformat().replace("+00:00", "Z")
            data = json.dumps(event.get_data()).encode()
            found.append(Delivery(got.properties["message_id"], attributes, data))
        return found

    def raw(self) -> list[amqp.Message]:
        """Everything that arrived, as the library has it."""
        found = []
        while (got := self.channel.basic_get(self.queue, no_ack=True)) is not None:
            found.append(got)
        return found

    def fill(self) -> None:
        """See Broker."""
        limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
        self.channel.queue_declare(self._full, durable=True, auto_delete=False, arguments=limits)
        self.channel.basic_publish(amqp.Message("fills it"), routing_key=self._full)
        while self.channel.queue_declare(self._full, passive=True).message_count == 0:
            pass
        self.channel.queue_bind(self._full, self.exchange, f"{FULL}.#")

    def empty(self) -> None:
        """See Broker."""
        self.channel.queue_delete(self._full)

    def go_away(self) -> None:
        """See Broker."""
        self.proxy.go_away()

    def come_back(self) -> None:
        """See Broker."""
        self.proxy.come_back()

    def lose_next_confirm(self) -> None:
        """See Broker."""

        def cut() -> None:
            while self.channel.queue_declare(self.queue, passive=True).message_count == 0:
                pass  # it has not arrived yet
            self.proxy.cut()

        def hold(data: bytes) -> None:
            if b"specversion" in data:
                self.proxy.on_request = lambda _: None
                self.proxy.hold_answers()
                threading.Thread(target=cut, daemon=True).start()

        self.proxy.on_request = hold

    def close(self) -> None:
        """See Broker."""
        for publisher in self.publishers:
            publisher.close()
        self.proxy.close()
        with suppress(amqp.AMQPError, OSError):
            for queue in (self.queue, self._full):
                self.channel.queue_delete(queue)
            self.channel.exchange_delete(self.exchange)
        self._connection.close()


def body_of(message: amqp.Message) -> bytes:
    """The body of a message, which the library decodes when its encoding is named."""
    return message.body if isinstance(message.body, bytes) else message.body.encode()


def _rabbitmq(*, structured: bool = False) -> RabbitMQ:
    """A RabbitMQ server; skips the test where none answers."""
    try:
        return RabbitMQ(structured=structured)
    except OSError as error:
        pytest.skip(f"no RabbitMQ at {Address.of(RABBITMQ_URL)!r}: {error}")


BROKERS: Final[dict[str, Callable[[], Broker]]] = {
    "memory": InMemory,
    "rabbitmq": _rabbitmq,
    "rabbitmq-structured": partial(_rabbitmq, structured=True),
    "kafka": Kafka,
    "kafka-structured": partial(Kafka, structured=True),
}
"""A new adapter adds one line here."""
