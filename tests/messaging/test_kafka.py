"""What only the adapter of Kafka has: headers, key and partition, the topic, refusals, deadlines and addresses."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Producer

from messaging.cloud_events import CONTENT_TYPE, STRUCTURED_CONTENT_TYPE, CloudEvents
from messaging.kafka import TOPIC, KafkaPublisher
from messaging.kafka_address import Address
from messaging.port import BrokerUnavailableError, Message, Published
from store.backend import PaymentStore
from tests.gateways.transport import TLS
from tests.messaging.brokers import BROKERS, FULL, Kafka
from tests.messaging.builders import message
from tests.messaging.cutting_proxy import CuttingProxy
from tests.messaging.kafka_refusals import MESSAGE_TOO_LARGE, NOT_LEADER, TOPIC_AUTHORIZATION_FAILED
from tests.messaging.kafka_server import KafkaServer, Reader, create_topic, headers_of, partitions_of
from tests.messaging.recorded import recorded
from tests.messaging.test_cloud_events import agrees

SECRET: Final = "hunter2"
UNDER_GEVENT: Final = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from messaging.kafka import KafkaPublisher
from tests.messaging.builders import message
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.001)
gevent.spawn(tick)
publisher = KafkaPublisher(sys.argv[1])
published = publisher.publish([message(at, f"c{at % 50}") for at in range(500)])
publisher.publish(())
publisher.close()
print(published.confirmed, ticks > 10)
"""


@pytest.fixture
def broker() -> Iterator[Kafka]:
    """A broker behind a proxy, with a topic of one partition."""
    broker = BROKERS["kafka"]()
    assert isinstance(broker, Kafka)
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    """A broker without a topic."""
    server = KafkaServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Message]:
    """The messages of events of every kind."""
    with recorded(tmp_path_factory.mktemp("recorded")) as store:
        return messages_of(store)


def messages_of(store: PaymentStore) -> Sequence[Message]:
    """The messages of all events."""
    return CloudEvents(store, "https://payments.example.com").messages(store.all_events(None, after=0, limit=1000), 0)


def read_by_the_sdk(server: KafkaServer, topic: str, messages: Sequence[Message]) -> set[str]:
    """Compare all of ``topic``, as the SDK of CloudEvents reads it, with ``messages``; return the content types."""
    sent = {one.event_id: one for one in messages}
    types = set()
    for got in Reader(server.servers, topic).read():
        headers = headers_of(got)
        types.add(headers["content-type"])
        key, value = got.key(), got.value()
        assert key is not None
        assert value is not None
        read = sdk.from_kafka(
            sdk.KafkaMessage({name: text.encode() for name, text in headers.items()}, key, value), JSONFormat()
        )
        ours = sent.pop(read.get_id())
        assert key.decode() == ours.partition_key
        agrees(ours, read)
    assert sent == {}
    return types


@pytest.mark.parametrize(("mode", "content_type"), [("binary", CONTENT_TYPE), ("structured", STRUCTURED_CONTENT_TYPE)])
def test_both_modes_as_the_sdk_reads_them(
    server: KafkaServer, events: Sequence[Message], mode: str, content_type: str
) -> None:
    """Each event of every kind arrives with its key, its attributes and its data."""
    topic = f"payments.sdk.{mode}"
    publisher = KafkaPublisher(f"kafka://{server.servers}", topic=topic, structured=mode == "structured")
    assert publisher.publish(events) == Published(len(events))
    publisher.close()
    assert read_by_the_sdk(server, topic, events) == {content_type}


def test_a_missing_topic_is_created(server: KafkaServer) -> None:
    """With twelve partitions."""
    publisher = KafkaPublisher(f"kafka://{server.servers}", topic="payments.created")
    publisher.publish(())
    publisher.close()
    assert partitions_of(server.servers, "payments.created") == 12


def test_an_existing_topic_stays_as_it_is(server: KafkaServer) -> None:
    """Its partitions are not changed: keys would move."""
    create_topic(server.servers, "payments.existing", partitions=3)
    publisher = KafkaPublisher(f"kafka://{server.servers}", topic="payments.existing")
    assert publisher.publish([message(at, f"c{at}") for at in range(50)]) == Published(50)
    publisher.close()
    assert partitions_of(server.servers, "payments.existing") == 3
    assert len({got.partition() for got in Reader(server.servers, "payments.existing").read()}) == 3


def murmur2(data: bytes) -> int:
    """The hash of Java's clients (org.apache.kafka.common.utils.Utils.murmur2), as a positive number."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        value = value * multiplier & mask ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return (value ^ value >> 15) & 0x7FFFFFFF


@pytest.mark.parametrize(
    ("key", "signed"), [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)]
)
def test_the_hash_of_the_test(key: bytes, signed: int) -> None:
    """It is Java's: these are values of Kafka's own test (UtilsTest.testMurmur2)."""
    assert murmur2(key) == signed & 0x7FFFFFFF


def test_partitions_are_those_of_java_clients(server: KafkaServer) -> None:
    """A consumer that joins these events with topics of Java clients finds equal keys in equal partitions."""
    publisher = KafkaPublisher(f"kafka://{server.servers}", topic="payments.partitions")
    batch = [message(at, f"customer-{at * 37}") for at in range(200)]
    assert publisher.publish(batch) == Published(200)
    publisher.close()
    found = {bytes(got.key() or b""): got.partition() for got in Reader(server.servers, "payments.partitions").read()}
    assert found == {key: murmur2(key) % 12 for one in batch if (key := one.partition_key.encode())}
    assert len(set(found.values())) == 12


def test_a_message_that_is_too_large_is_refused(broker: Kafka) -> None:
    """It does not end the connection, and those before it are confirmed."""
    batch = [message(1), replace(message(2), data=b"x" * 1_100_000), message(3, "c3")]
    published = broker.publisher().publish(batch)
    assert published.confirmed == 1
    assert published.refused is not None
    assert published.refused.position == 2
    assert "size too large" in published.refused.reason


@pytest.mark.parametrize(
    ("error", "reason"), [(TOPIC_AUTHORIZATION_FAILED, "authorization failed"), (MESSAGE_TOO_LARGE, "too large")]
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


def test_an_error_that_passes_is_no_refusal(broker: Kafka) -> None:
    """The broker is being replaced, say. The event is published again later, and no alarm is raised."""
    broker.proxy.error = NOT_LEADER
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
    """An abandoned batch ends with its producer: when the broker is back, only new batches reach it."""
    publisher = broker.publisher()
    publisher.publish([message(0)])
    broker.go_away()
    for at in range(1, 5):
        with pytest.raises(BrokerUnavailableError):
            publisher.publish([message(at)])
    broker.come_back()
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


def test_it_cooperates_under_gevent(server: KafkaServer) -> None:
    """Other greenlets run while it connects and waits for confirms."""
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, f"kafka://{server.servers}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("500 True\n", 0), done.stderr
    assert len(Reader(server.servers, TOPIC).read()) == 500


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
