"""The scheme of a URL alone decides which broker is used."""

from __future__ import annotations

import pytest

from messaging.brokers import BROKERS, broker_of
from messaging.kafka.publishing import KafkaPublisher
from messaging.kafka.queue import KafkaQueue
from messaging.rabbitmq.publishing import RabbitmqPublisher
from messaging.rabbitmq.queue import RabbitmqQueue


@pytest.mark.parametrize("url", ["amqp://me:hunter2@absent/vhost", "amqps://me:hunter2@absent/vhost"])
def test_a_url_of_rabbitmq(url: str) -> None:
    """Nothing is opened before the first use."""
    assert isinstance(broker_of(url).publisher(url, structured=False), RabbitmqPublisher)
    queue = broker_of(url).work_queue(url)
    assert isinstance(queue, RabbitmqQueue)
    queue.close()


@pytest.mark.parametrize("url", ["kafka://absent,absent:1", "kafkas://me:hunter2@absent"])
def test_a_url_of_kafka(url: str) -> None:
    """Nothing is opened before the first use."""
    assert isinstance(broker_of(url).publisher(url, structured=False), KafkaPublisher)
    assert isinstance(broker_of(url).work_queue(url), KafkaQueue)


@pytest.mark.parametrize("url", ["", "http://me:hunter2@mq", "amqp:me:hunter2@mq"])
def test_a_url_of_no_broker(url: str) -> None:
    """It is refused without showing it."""
    with pytest.raises(ValueError, match="must begin with one of") as refusal:
        broker_of(url)
    assert "hunter2" not in str(refusal.value)
    assert all(scheme in str(refusal.value) for scheme in BROKERS)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://me:hunter2@mq?hunter2",
        "amqp://me:hunter2@mq#hunter2",
        "amqp://me:hunter2@a..b",
        "amqp://me:hunter2@mq:0",
        "amqps://me:hunter2@a,b",
        "amqp://hunter2@mq",
        "amqp://me:%hunter2@mq",
        "kafka://me:hunter2@mq#hunter2",
        "kafka://hunter2@mq",
        "kafka://me:hunter2@mq" + ",hunter2" * 100,
    ],
)
def test_a_url_that_an_adapter_does_not_accept(url: str) -> None:
    """Both sides refuse it before they open anything, without showing it."""
    broker = broker_of(url)
    for make in (lambda: broker.publisher(url, structured=False), lambda: broker.work_queue(url)):
        with pytest.raises(ValueError, match=r"^(must|may) ") as refusal:
            make()
        assert "hunter2" not in repr(refusal.value)
