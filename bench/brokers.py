"""The brokers that a relay publishes to under measurement: whether they answer, and what takes their messages.

An inbox is bounded, and is removed with its ``with`` block. Its messages are counted and not read.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import amqp

from messaging.rabbitmq import EXCHANGE
from messaging.rabbitmq_link import Address

RABBITMQ_VARIABLE: Final = "PAYMENTS_TEST_RABBITMQ_URL"
LOCAL_RABBITMQ: Final = "amqp://guest:guest@127.0.0.1:5672/"
KEPT_MAX: Final = 100_000
"""Messages that an inbox holds. RabbitMQ drops the oldest of more."""

_ANSWERS_WITHIN_S: Final = 5


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


RABBITMQ: Final = Broker("RabbitMQ", _rabbitmq_refusal, _rabbitmq_inbox)
BROKERS: Final = (RABBITMQ,)
