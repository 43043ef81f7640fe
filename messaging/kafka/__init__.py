"""The adapter of Kafka: a ``messaging.brokers.BrokerModule``."""

from __future__ import annotations

from messaging.kafka.publishing import KafkaPublisher
from messaging.kafka.queue import KafkaQueue


def publisher(url: str, *, structured: bool) -> KafkaPublisher:
    """See ``messaging.brokers.BrokerModule``."""
    return KafkaPublisher(url, structured=structured)


def work_queue(url: str) -> KafkaQueue:
    """See ``messaging.brokers.BrokerModule``."""
    return KafkaQueue(url)
