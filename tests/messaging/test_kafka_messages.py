"""What arrives at Kafka: messages in both modes, in the partitions of Java clients, in a topic that may be absent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import KafkaError
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its __init__ exports it

from messaging.cloud_events import CONTENT_TYPE, STRUCTURED_CONTENT_TYPE, CloudEvents
from messaging.kafka import client
from messaging.kafka.address import Address
from messaging.kafka.publishing import TOPIC, KafkaPublisher
from messaging.port import Message, Published
from store.backend import PaymentStore
from tests.messaging.builders import message
from tests.messaging.kafka_server import KafkaServer, Reader, create_topic, headers_of, partitions_of
from tests.messaging.recorded import recorded
from tests.messaging.test_cloud_events import agrees

UNDER_GEVENT: Final = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from messaging.kafka.publishing import KafkaPublisher
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


def test_a_cluster_without_a_default_replication_factor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before version 2.4 it must be given: the topic gets one replica, and a warning says so."""
    tried: list[int] = []

    def create(_reports: object, topic: NewTopic) -> KafkaError | None:
        tried.append(topic.replication_factor)
        return KafkaError(KafkaError._UNSUPPORTED_FEATURE) if topic.replication_factor == -1 else None

    monkeypatch.setattr(client, "_create", create)
    client.prepare_topic(Address(("mq:9092",)), "payments.old", {})
    assert tried == [-1, 1]
    assert "payments.old gets one replica" in caplog.text


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
