"""What only the publisher to Kafka has: refusals, batches that are given up, other brokers, TLS and credentials."""

from __future__ import annotations

import logging
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest
from confluent_kafka import Producer

from messaging.kafka.address import Address
from messaging.kafka.publishing import TOPIC, KafkaPublisher
from messaging.port import BrokerUnavailableError, Published
from tests.gateways.transport import TLS
from tests.messaging.builders import message
from tests.messaging.cutting_proxy import CuttingProxy
from tests.messaging.delivery import FULL
from tests.messaging.kafka_broker import Kafka
from tests.messaging.kafka_refusals import (
    INVALID_RECORD,
    MESSAGE_TOO_LARGE,
    NOT_LEADER,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_SERVER_ERROR,
)
from tests.messaging.kafka_server import KafkaServer, Reader

SECRET: Final = "hunter2"


@pytest.fixture
def broker() -> Iterator[Kafka]:
    """A broker behind a proxy, with a topic of one partition."""
    broker = Kafka()
    yield broker
    broker.close()


def test_a_message_that_is_too_large_is_refused(broker: Kafka) -> None:
    """It does not end the connection, and those before it are confirmed."""
    batch = [message(1), replace(message(2), data=b"x" * 1_100_000), message(3, "c3")]
    published = broker.publisher().publish(batch)
    assert published.confirmed == 1
    assert published.refused is not None
    assert published.refused.position == 2
    assert "size too large" in published.refused.reason


@pytest.mark.parametrize(
    ("error", "reason"), [(INVALID_RECORD, "broker failed to validate record"), (MESSAGE_TOO_LARGE, "too large")]
)
def test_a_refusal_of_a_request_is_one_of_its_messages(broker: Kafka, error: int, reason: str) -> None:
    """The broker refuses all messages of a request for one of them. The others are published one by one."""
    broker.proxy.error = error
    broker.fill()
    publisher = broker.publisher()
    batch = [message(1, "a"), message(2, "b"), message(3, "c", merchant=FULL), message(4, "d")]
    published = publisher.publish(batch)
    assert published.confirmed == 2
    assert published.refused is not None
    assert published.refused.position == 3
    assert reason in published.refused.reason.lower()
    broker.empty()
    assert publisher.publish(batch[2:]) == Published(2)
    received = [int(one.attributes["position"]) for one in broker.received()]
    assert set(received) == {1, 2, 3, 4}
    assert Counter(received)[3] == 1


@pytest.mark.parametrize("error", [NOT_LEADER, UNKNOWN_SERVER_ERROR, TOPIC_AUTHORIZATION_FAILED])
def test_an_error_that_passes_is_no_refusal(broker: Kafka, error: int) -> None:
    """It may be about to be replaced. The event is published again later, and no refusal is reported."""
    broker.proxy.error = error
    broker.fill()
    publisher = broker.publisher(confirm_s=1.5)
    batch = [message(1, "a", merchant=FULL)]
    with pytest.raises(BrokerUnavailableError):
        publisher.publish(batch)
    broker.empty()
    assert publisher.publish(batch) == Published(1)


def test_a_broker_that_does_not_confirm(broker: Kafka) -> None:
    """After a time limit the batch is given up. Its messages do not arrive after later ones of their key."""
    publisher = broker.publisher(confirm_s=1.5)
    publisher.publish([message(0)])
    broker.proxy.drops_messages = True
    with pytest.raises(BrokerUnavailableError):
        publisher.publish([message(1, version=1), message(2, version=2)])
    broker.proxy.drops_messages = False
    assert publisher.publish([message(1, version=1), message(2, version=2)]) == Published(2)
    assert publisher.publish([message(3, version=3)]) == Published(1)
    assert [one.event_id for one in broker.received()] == ["event-0", "event-1", "event-2", "event-3"]


def test_what_was_given_up_is_never_sent(broker: Kafka) -> None:
    """An abandoned batch ends with its producer, also when the broker is back while that producer ends."""
    publisher = broker.publisher()
    publisher.publish([message(0)])
    returning = threading.Timer(0.3, broker.come_back)

    def lose(request: bytes) -> None:
        if b"specversion" in request:
            broker.proxy.on_request = lambda _: None
            broker.go_away()
            returning.start()

    broker.proxy.on_request = lose
    with pytest.raises(BrokerUnavailableError):
        publisher.publish([message(1)])
    returning.join()
    assert publisher.publish([message(9)]) == Published(1)
    assert broker.publisher().publish([message(10)]) == Published(1)
    assert [one.event_id for one in broker.received()] == ["event-0", "event-9", "event-10"]


def test_a_broker_in_another_implementation() -> None:
    """The mock cluster of librdkafka, which cannot create topics and creates them on use."""
    cluster = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 3, "log_level": 0})
    servers = ",".join(f"{one.host}:{one.port}" for one in cluster.list_topics(timeout=5).brokers.values())
    publisher = KafkaPublisher(f"kafka://{servers}")
    batch = [message(at, f"c{at % 20}") for at in range(200)]
    assert publisher.publish(batch) == Published(200)
    assert publisher.publish([message(200, "c0")]) == Published(1)
    publisher.close()
    got = [one.key() for one in Reader(servers, TOPIC).read()]
    assert Counter(got) == Counter(one.partition_key.encode() for one in [*batch, message(200, "c0")])


@pytest.fixture
def encrypting(broker: Kafka) -> CuttingProxy:
    """A proxy over TLS, with a certificate for 127.0.0.1 and localhost that only the tests trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    broker.proxy.tls = context
    return broker.proxy


def test_a_connection_over_tls(broker: Kafka, encrypting: CuttingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a certificate that the machine trusts, or that SSL_CERT_FILE names."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    publisher = KafkaPublisher(f"kafkas://127.0.0.1:{encrypting.port}", topic=broker.TOPIC)
    assert publisher.publish([message(at, f"c{at % 20}") for at in range(100)]) == Published(100)
    publisher.close()


def test_an_unknown_certificate_gets_nothing(broker: Kafka, encrypting: CuttingProxy) -> None:
    """The reason is in the error."""
    with pytest.raises(BrokerUnavailableError, match="certificate verify failed"):
        KafkaPublisher(f"kafkas://127.0.0.1:{encrypting.port}", topic=broker.TOPIC).publish(())


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_credentials_are_in_no_text(mechanism: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the error for a refused login, nor in the log or a representation."""
    with closing(KafkaServer(authentication=True)) as server, caplog.at_level(logging.DEBUG):
        url = f"kafka://{SECRET}user:{SECRET}@{server.servers}/?mechanism={mechanism}"
        with pytest.raises(BrokerUnavailableError, match="SASL") as refusal:
            KafkaPublisher(url).publish(())
    assert "librdkafka" in caplog.text
    for text in (str(refusal.value), repr(refusal.value), repr(Address.of(url)), caplog.text):
        assert SECRET not in text
    assert SECRET not in Address.of(url).hide(f"the broker says: no user {SECRET}user with {SECRET}")
