"""The scheme of a URL alone decides which broker is used."""

from __future__ import annotations

import pytest

from messaging.brokers import BROKERS, broker_of
from messaging.rabbitmq import RabbitmqPublisher
from messaging.rabbitmq_queue import RabbitmqQueue


@pytest.mark.parametrize("url", ["amqp://me:hunter2@absent/vhost", "amqps://me:hunter2@absent/vhost"])
def test_a_url_of_rabbitmq(url: str) -> None:
    """Nothing is opened before the first use."""
    assert isinstance(broker_of(url).publisher(url, structured=False), RabbitmqPublisher)
    queue = broker_of(url).work_queue(url)
    assert isinstance(queue, RabbitmqQueue)
    queue.close()


@pytest.mark.parametrize("url", ["", "http://me:hunter2@mq", "amqp:me:hunter2@mq"])
def test_a_url_of_no_broker(url: str) -> None:
    """It is refused without showing it."""
    with pytest.raises(ValueError, match="must begin with one of") as refusal:
        broker_of(url)
    assert "hunter2" not in str(refusal.value)
    assert all(scheme in str(refusal.value) for scheme in BROKERS)
