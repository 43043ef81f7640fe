"""A broker of Kafka's protocol, for the contract of the publisher and the tests of its adapter."""

from __future__ import annotations

import json
import threading
from typing import Final

from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Message

from messaging.kafka.publishing import KafkaPublisher
from tests.messaging.delivery import FULL, Delivery
from tests.messaging.kafka_refusals import RefusingProxy
from tests.messaging.kafka_server import KafkaServer, Reader, binary, create_topic, headers_of


class Kafka:
    """A broker of Kafka's protocol behind a proxy. The topic has one partition, so that all messages have one order.

    The SDK of the CloudEvents project reads the messages, in whichever mode they are.
    """

    TOPIC: Final = "payments.test.v1"

    def __init__(self, *, structured: bool = False) -> None:
        self._structured = structured
        binary()
        self.proxy = RefusingProxy(("127.0.0.1", 0))
        self.server = KafkaServer(self.proxy.port)
        self.proxy.server = ("127.0.0.1", self.server.port)
        create_topic(self.server.servers, self.TOPIC, partitions=1)
        self._reader = Reader(self.server.servers, self.TOPIC)
        self.publishers: list[KafkaPublisher] = []

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"kafka://127.0.0.1:{self.proxy.port}"

    def publisher(self, *, confirm_s: float = 5.0) -> KafkaPublisher:
        """See Broker."""
        made = KafkaPublisher(self.url, structured=self._structured, topic=self.TOPIC, confirm_s=confirm_s)
        self.publishers.append(made)
        return self.publishers[-1]

    def received(self) -> list[Delivery]:
        """See Broker."""
        return [self._delivery(got) for got in self._reader.read()]

    def _delivery(self, got: Message) -> Delivery:
        headers = {name: text.encode() for name, text in headers_of(got).items()}
        key = got.key() or b""
        event = sdk.from_kafka(sdk.KafkaMessage(headers, key, got.value() or b""), JSONFormat())
        attributes = event.get_attributes()
        assert attributes.pop("partitionkey") == key.decode()  # the SDK takes it from the key
        assert attributes.pop("datacontenttype") == "application/json"
        attributes["time"] = attributes["time"].isoformat().replace("+00:00", "Z")
        return Delivery(event.get_id(), attributes, json.dumps(event.get_data()).encode())

    def fill(self) -> None:
        """See Broker: the proxy answers for it."""
        self.proxy.refused_bytes = f"{FULL}/".encode()

    def empty(self) -> None:
        """See Broker."""
        self.proxy.refused_bytes = None

    def go_away(self) -> None:
        """See Broker."""
        self.proxy.go_away()

    def come_back(self) -> None:
        """See Broker."""
        self.proxy.come_back()

    def lose_next_confirm(self) -> None:
        """See Broker."""
        arrivals = Reader(self.server.servers, self.TOPIC)
        arrivals.read()

        def cut() -> None:
            while not arrivals.read():
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
        self.server.close()
