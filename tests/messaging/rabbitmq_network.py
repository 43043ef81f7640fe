"""Processes that share work hints over a RabbitMQ server, with an exchange and queues of one test."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import Final

import amqp
import pytest

from messaging.port import WorkHint
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.announcing import BUFFER_MAX
from messaging.rabbitmq.queue import RabbitmqQueue
from messaging.rabbitmq.thread import ANSWER_S
from messaging.rabbitmq.topology import Names
from tests.messaging.brokers import RABBITMQ_URL
from tests.messaging.cutting_proxy import CuttingProxy
from tests.processes.process import PATIENCE_S, wait_until

A1: Final = WorkHint("w-1", "t-1", "gatewayA")
A2: Final = WorkHint("w-2", None, "gatewayA")
B1: Final = WorkHint("w-3", "t-3", "gatewayB")

_POLL_S: Final = 0.005


class RabbitmqNetwork:
    """Implements ``tests.messaging.conftest.Network``. Skips the test where no server answers.

    All queues reach the server through ``proxy``.
    """

    redelivers_after_a_cut: Final = True

    def __init__(self) -> None:
        self.names: Final = Names(*(f"payments.test.{uuid.uuid4().hex}{end}" for end in ("", ".")))
        self._address = Address.of(RABBITMQ_URL)
        self._queues: list[RabbitmqQueue] = []
        try:
            self.connection = amqp.Connection(
                host=f"{self._address.host}:{self._address.port}",
                userid=self._address.user,
                password=self._address.password,
                virtual_host=self._address.virtual_host,
            )
            self.connection.connect()
        except OSError as error:
            pytest.skip(f"no RabbitMQ at {self._address!r}: {error}")
        self.proxy: Final = CuttingProxy((self._address.host, self._address.port))
        self.channel: Final = self.connection.channel()

    @property
    def url(self) -> str:
        """The URL of the server through the proxy."""
        address = self._address
        return f"amqp://{address.user}:{address.password}@127.0.0.1:{self.proxy.port}{address.virtual_host}"

    def queue(self, *, buffer_max: int = BUFFER_MAX, confirm_s: float = ANSWER_S) -> RabbitmqQueue:
        """See Network."""
        self._queues.append(RabbitmqQueue(self.url, names=self.names, buffer_max=buffer_max, confirm_s=confirm_s))
        return self._queues[-1]

    def settle(self, condition: Callable[[], bool]) -> None:
        """See Network. Nothing is delivered once all queues are closed."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < deadline:
            if all(queue._announcing._closed for queue in self._queues):
                return
            time.sleep(_POLL_S)

    def go_away(self) -> None:
        """See BrokerNetwork."""
        self.proxy.go_away()

    def come_back(self) -> None:
        """See BrokerNetwork."""
        self.proxy.come_back()

    def cut(self) -> None:
        """See BrokerNetwork."""
        self.proxy.cut()

    def close(self) -> None:
        """See Network."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(RabbitmqQueue.close, self._queues))
        self.proxy.close()
        known = [(*queue._consuming._handlers, *queue._announcing._senders) for queue in self._queues]
        with suppress(amqp.AMQPError, OSError):
            for gateway in {*chain(*known)}:
                self.channel.queue_delete(self.names.queue(gateway))
            self.channel.exchange_delete(self.names.exchange)
        self.connection.close()


def subscribed(network: RabbitmqNetwork, *gateways: str) -> tuple[RabbitmqQueue, list[WorkHint]]:
    """A queue that consumes, and what it got."""
    queue, hints = network.queue(), list[WorkHint]()
    queue.subscribe(gateways, hints.append)
    wait_until(lambda: queue._consuming._consumed == {*gateways}, "the queues are consumed")
    return queue, hints


def counted(holds: Callable[[], bool]) -> None:
    """Wait for a counter."""
    wait_until(holds, "the counter goes up")
