"""The profiles of docker-compose.yml work: api, processor and relay share the work as processes of this machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import orjson
import pytest

from tests.messaging.kafka_server import KafkaServer, Reader
from tests.messaging.rabbitmq_node import USER, RabbitmqNode
from tests.processes.process import wait_until
from tests.tooling.checkout import CHECKOUT
from tests.tooling.composed import Broker, Composed, as_process, composed
from tests.tooling.composition import COMPOSE, environment

POST: Final = re.findall(r"^curl -X POST .*$", (CHECKOUT / "README.md").read_text(), re.MULTILINE)[0]
API: Final = "http://localhost:8081"


class Running(NamedTuple):
    """A profile, running. ``event_types`` returns the types of the events that were published so far."""

    profile: str
    up: Composed
    event_types: Callable[[], list[str]]


@contextmanager
def rabbitmq(folder: Path) -> Iterator[tuple[Broker, Callable[[], list[str]]]]:
    """A node with the login of the file, and a queue of all events."""
    login = urlsplit(COMPOSE["x-rabbitmq-url"])
    assert login.username == USER
    node = RabbitmqNode(folder, login.password)
    node.start()
    try:
        channel = node.connect().channel()
        channel.exchange_declare("payments.events", "topic", durable=True, auto_delete=False)
        channel.queue_declare("all", durable=True, auto_delete=False)
        channel.queue_bind("all", "payments.events", "#")
        types: list[str] = []

        def read() -> list[str]:
            while (got := channel.basic_get("all", no_ack=True)) is not None:
                types.append(got.headers["ce-type"])
            return types

        yield Broker("rabbitmq", "5672", node.port), read
        channel.connection.collect()
    finally:
        node.kill()


@contextmanager
def kafka(_: Path) -> Iterator[tuple[Broker, Callable[[], list[str]]]]:
    """A broker of Kafka's protocol, and a reader of the topic."""
    server = KafkaServer()
    try:
        types: list[str] = []
        reader = Reader(server.servers, "payments.events.v1")

        def read() -> list[str]:
            types.extend(f"payments.{orjson.loads(got.value() or b'')['event']['type']}.v1" for got in reader.read())
            return types

        yield Broker("kafka", "9092", server.port), read
    finally:
        server.close()


@pytest.fixture(scope="module", params=[rabbitmq, kafka], ids=["rabbitmq", "kafka"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Each profile, running; each process must end after SIGTERM."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl, like the README")
    with (
        request.param(tmp_path_factory.mktemp("broker")) as (broker, read),
        composed(tmp_path_factory.mktemp("compose"), as_process, broker) as up,
    ):
        yield Running(broker.name, up, read)


@pytest.mark.slow
def test_a_deposit_over_all_roles(running: Running) -> None:
    """The api accepts it, the processor completes it, and the relay publishes its events."""
    transaction = running.up.deposit(POST.replace("http://localhost:8080", API))
    lookup = f"curl {API}/v1/transactions/{transaction['transaction_id']}"
    assert running.up.curl(lookup) == transaction
    wait_until(lambda: "payments.DepositCompleted.v1" in running.event_types(), "the event is published")
    assert running.event_types()[0] == "payments.DepositReceived.v1"


@pytest.mark.slow
def test_each_service_has_its_role(running: Running) -> None:
    """Only the api answers clients. All are processes of their own, with the workers of the file."""
    refused = 'curl http://localhost/v1/customers/12345 -o /dev/null -w "%{http_code}"'
    for name in (f"processor-{running.profile}", f"relay-{running.profile}"):
        address = running.up.url(name, 8080)
        with pytest.raises(AssertionError, match="404"):
            running.up.fetch(refused.replace("http://localhost", address))
        assert running.up.curl(f"curl {address}/readyz")["status"] == "ready"
    names = ["simulator", "migrate", "api", f"processor-{running.profile}", f"relay-{running.profile}"]
    assert sorted(running.up.processes) == sorted(names)
    for name in names[2:]:
        assert len(running.up.processes[name].children()) == int(environment(name)["PAYMENTS_WORKERS"])
