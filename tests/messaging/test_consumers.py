"""The consumers of docs/events.md book each event once from real brokers, whenever they stop and start again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import amqp
import pytest

from messaging.cloud_events import CONTENT_TYPE, STRUCTURED_CONTENT_TYPE, CloudEvents, structured
from messaging.kafka.publishing import KafkaPublisher
from messaging.message import Message
from messaging.port import Published
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.publishing import RabbitmqPublisher
from store.backend import PaymentStore
from tests.messaging.brokers import RABBITMQ_URL
from tests.messaging.consuming import Consumer, Faulty, balances
from tests.messaging.kafka_server import KafkaServer
from tests.messaging.recorded import recorded
from tests.processes.process import wait_until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaymentStore]:
    """A store with events of every kind."""
    with recorded(tmp_path_factory.mktemp("recorded")) as store:
        yield store


@pytest.fixture(scope="module")
def messages(store: PaymentStore) -> Sequence[Message]:
    """Their messages."""
    return CloudEvents(store, "").messages(store.all_events(None, after=0, limit=1000), 0)


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    """A consumer that has seen nothing."""
    made = Consumer()
    yield made
    made.db.close()


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_message_is_read_in_both_modes(messages: Sequence[Message], consumer: Consumer, mode: str) -> None:
    """Attributes and data are the same."""
    read = consumer.names["cloud_event"]
    for message in messages:
        if mode == "binary":
            headers = {f"ce_{name}": text for name, text in message.attributes.items()}
            attributes, data = read(CONTENT_TYPE, headers, message.data, "ce_")
        else:
            attributes, data = read(STRUCTURED_CONTENT_TYPE, {}, structured(message), "ce_")
        assert attributes.items() >= message.attributes.items()
        consumer.names["handle"](consumer.db, attributes, data)


class Exchange:
    """An exchange of one test on RabbitMQ, with a queue of the same name that the consumer declares."""

    def __init__(self) -> None:
        address, self.name = Address.of(RABBITMQ_URL), f"payments.test.{uuid.uuid4().hex}"
        login = {"host": f"{address.host}:{address.port}", "user": address.user, "password": address.password}
        self.arguments: Final = {**login, "queue": self.name, "exchange": self.name}
        """Those of the consumer."""
        self._connection = amqp.Connection(host=login["host"], userid=address.user, password=address.password)
        try:
            self._connection.connect()
        except OSError as error:
            pytest.skip(f"no RabbitMQ at {address!r}: {error}")

    def publish(self, messages: Sequence[Message], *, is_structured: bool) -> None:
        """Publish ``messages`` once the consumer has bound its queue."""
        wait_until(self._is_consumed, "the consumer has bound its queue")
        publisher = RabbitmqPublisher(RABBITMQ_URL, exchange=self.name, structured=is_structured)
        assert publisher.publish(messages) == Published(len(messages))
        assert publisher.unroutable == 0
        publisher.close()

    def left(self) -> int:
        """The number of messages in the queue, once no consumer holds any."""
        wait_until(lambda: not self._is_consumed(), "the consumer has gone")
        count: int = self._connection.channel().queue_declare(self.name, passive=True).message_count
        return count

    def close(self) -> None:
        """Delete exchange and queue."""
        channel = self._connection.channel()
        channel.queue_delete(self.name)
        channel.exchange_delete(self.name)
        self._connection.close()

    def _is_consumed(self) -> bool:
        try:
            return bool(self._connection.channel().queue_declare(self.name, passive=True).consumer_count)
        except amqp.NotFound:
            return False


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """An exchange of this test."""
    made = Exchange()
    yield made
    made.close()


@pytest.mark.parametrize("is_structured", [False, True], ids=["binary", "structured"])
def test_a_consumer_of_rabbitmq(
    store: PaymentStore, messages: Sequence[Message], consumer: Consumer, exchange: Exchange, *, is_structured: bool
) -> None:
    """It stops before bookings and before acknowledgements. All events are booked once, and in their order."""
    consume, types = consumer.names["consume_from_rabbitmq"], content_types(consumer)
    faulty = Faulty(consumer, messages)
    with ThreadPoolExecutor() as beside:
        published = beside.submit(exchange.publish, messages, is_structured=is_structured)
        faulty.run(lambda: consume(consumer.db, **exchange.arguments))
        published.result()
    assert consumer.totals() == balances(store)
    in_order(faulty, messages)
    assert types == {STRUCTURED_CONTENT_TYPE if is_structured else CONTENT_TYPE}
    assert exchange.left() <= 1


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaServer]:
    """A broker of Kafka's protocol."""
    server = KafkaServer()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize("is_structured", [False, True], ids=["binary", "structured"])
def test_a_consumer_of_kafka(
    store: PaymentStore, messages: Sequence[Message], consumer: Consumer, kafka: KafkaServer, *, is_structured: bool
) -> None:
    """It stops before a booking and before a commit. All events are booked once, and in their order."""
    topic = f"payments.test.{uuid.uuid4().hex}"
    publisher = KafkaPublisher(f"kafka://{kafka.servers}", topic=topic, structured=is_structured)
    assert publisher.publish(messages) == Published(len(messages))
    publisher.close()
    consume, types = consumer.names["consume_from_kafka"], content_types(consumer)
    faulty = Faulty(consumer, messages, every=2 * len(messages))
    settings = {"session.timeout.ms": 6000}
    faulty.run(lambda: consume(consumer.db, kafka.servers, topic, topic, **settings))
    assert consumer.totals() == balances(store)
    in_order(faulty, messages)
    assert types == {STRUCTURED_CONTENT_TYPE if is_structured else CONTENT_TYPE}


def content_types(consumer: Consumer) -> set[str]:
    """The content types of the messages that the consumer is going to read."""
    types: set[str] = set()
    read = consumer.names["cloud_event"]

    def note(content_type: str, *rest: Any) -> Any:
        types.add(content_type)
        return read(content_type, *rest)

    consumer.names["cloud_event"] = note
    return types


def in_order(faulty: Faulty, messages: Sequence[Message]) -> None:
    """Check that the first deliveries of each customer are in order, and that some events came again."""
    first, customer_of = [*dict.fromkeys(faulty.booked)], {it.event_id: it.partition_key for it in messages}
    assert len(faulty.booked) > len(first) == len(messages)
    for customer in {*customer_of.values()}:
        ours = [event for event in first if customer_of[event] == customer]
        assert ours == [it.event_id for it in messages if it.partition_key == customer]
