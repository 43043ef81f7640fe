"""The adapter of RabbitMQ: a ``messaging.brokers.BrokerModule``."""

from __future__ import annotations

from messaging.rabbitmq.publishing import RabbitmqPublisher
from messaging.rabbitmq.queue import RabbitmqQueue


def publisher(url: str, *, structured: bool) -> RabbitmqPublisher:
    """See ``messaging.brokers.BrokerModule``."""
    return RabbitmqPublisher(url, structured=structured)


def work_queue(url: str) -> RabbitmqQueue:
    """See ``messaging.brokers.BrokerModule``."""
    return RabbitmqQueue(url)
