"""A service publishes its events to a real RabbitMQ: over cuts, kills and outages, and in a process of its own."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from typing import Any, Final

import amqp
import pytest

from messaging.rabbitmq.address import Address
from messaging.rabbitmq.publishing import EXCHANGE
from tests.messaging.brokers import RABBITMQ_URL
from tests.messaging.cutting_proxy import CuttingProxy
from tests.processes.installation import Installation
from tests.processes.process import free_port, wait_until
from tests.processes.targets import on_postgresql

STORY: Final = ["DepositReceived", "DepositProcessed", "DepositCompleted"]
SETTINGS: Final = {"PAYMENTS_LEASE_S": "2"}


class Consumer:
    """A queue of the test's own at the exchange of all events, behind a proxy that can be cut."""

    def __init__(self) -> None:
        address = Address.of(RABBITMQ_URL)
        self.customer = f"c-{uuid.uuid4().hex}"
        self.proxy = CuttingProxy((address.host, address.port))
        self.url = f"amqp://{address.user}:{address.password}@127.0.0.1:{self.proxy.port}{address.virtual_host}"
        self._connection = amqp.Connection(
            host=f"{address.host}:{address.port}",
            userid=address.user,
            password=address.password,
            virtual_host=address.virtual_host,
        )
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        self._queue = self._channel.queue_declare(exclusive=True).queue
        self._channel.queue_bind(self._queue, EXCHANGE, "main.#")
        self._seen: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        """All deliveries so far of this test's customer, in order."""
        while (got := self._channel.basic_get(self._queue, no_ack=True)) is not None:
            if got.headers["ce-partitionkey"] == f"main/{self.customer}":
                self._seen.append({**got.headers, "data": json.loads(got.body)})
        return self._seen

    def wait_for(self, count: int) -> None:
        """Wait until the first ``count`` versions have arrived."""
        wanted = set(range(1, count + 1))
        wait_until(lambda: wanted <= {int(one["ce-sequence"]) for one in self.events()}, f"{count} events arrive")

    def check(self, deposits: int) -> None:
        """First deliveries are in order without a gap, and tell the story of each deposit."""
        first: dict[str, dict[str, Any]] = {}
        for one in self.events():
            first.setdefault(one["ce-id"], one)
        assert [int(one["ce-sequence"]) for one in first.values()] == list(range(1, 3 * deposits + 1))
        stories: dict[str, list[str]] = {}
        for one in first.values():
            stories.setdefault(one["ce-subject"], []).append(one["data"]["event"]["type"])
        assert list(stories.values()) == [STORY] * deposits
        assert {one["data"]["transaction"]["amount"] for one in first.values()} == {"100.00"}

    def close(self) -> None:
        """Close everything; the queue ends with its connection."""
        self.proxy.close()
        self._connection.close()


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    """A consumer; skips the test where no RabbitMQ answers."""
    try:
        consumer = Consumer()
    except OSError as error:
        pytest.skip(f"no RabbitMQ: {error}")
    yield consumer
    consumer.close()


def test_events_arrive_over_outages_and_kills(installation: Installation, consumer: Consumer) -> None:
    """A broker that is away delays no deposit. After its return, and after kill -9, all events arrive by themselves."""
    settings = {**SETTINGS, "PAYMENTS_BROKER_URL": consumer.url}
    installation.simulator()
    service = installation.service(**settings)
    installation.deposit(customer_id=consumer.customer)
    consumer.wait_for(3)

    consumer.proxy.cut()
    installation.deposit(customer_id=consumer.customer)
    consumer.wait_for(6)

    consumer.proxy.go_away()
    path = f"/v1/transactions/{installation.deposit(customer_id=consumer.customer).body['transaction_id']}"
    wait_until(lambda: installation.get(path).body["status"] == "completed", "it completes without a broker")
    assert installation.get("/readyz").status == 200
    service.send_to_group(signal.SIGKILL)
    service.wait()
    service = installation.service(**settings)
    assert installation.get("/readyz").status == 200, "an unreachable broker does not stop the start"
    consumer.proxy.come_back()
    consumer.wait_for(9)
    consumer.check(3)

    status = installation.manage("relay", "status", "--json")
    assert status.wait() == 0
    service.send(signal.SIGTERM)
    assert service.wait() == 0


@pytest.mark.parametrize("installation", [on_postgresql(workers=1)], indirect=True, ids=str)
def test_a_process_that_only_publishes(installation: Installation, consumer: Consumer) -> None:
    """It serves the three routes of every process, and publishes what another process stores."""
    installation.simulator()
    installation.service(**SETTINGS)
    installation.deposit(customer_id=consumer.customer)
    port = free_port()
    relay = installation.service(port, **SETTINGS, PAYMENTS_BROKER_URL=consumer.url, PAYMENTS_ROLE="relay")
    consumer.wait_for(3)
    statuses = {path: installation.get(path, port).status for path in ("/healthz", "/readyz", "/metrics")}
    assert statuses == dict.fromkeys(statuses, 200)
    assert installation.get("/v1/transactions", port).status == 404
    relay.send_to_group(signal.SIGKILL)
    relay.wait()
    installation.deposit(customer_id=consumer.customer)
    installation.service(port, **SETTINGS, PAYMENTS_BROKER_URL=consumer.url, PAYMENTS_ROLE="relay")
    consumer.wait_for(6)
    consumer.check(2)
