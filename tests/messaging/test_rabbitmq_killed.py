"""A RabbitMQ node of its own: killed with SIGKILL, emptied, with TLS of its own, and with credentials of its own.

It keeps the events that it confirmed, and the relay publishes the rest after it. Hints go on after its return.
"""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from messaging.port import BrokerUnavailableError, Published, WorkHint
from messaging.rabbitmq import EXCHANGE, RabbitmqPublisher
from messaging.rabbitmq_queue import RabbitmqQueue
from messaging.relay import Relay
from store.backend import PaymentStore
from tests.gateways.transport import TLS
from tests.messaging.builders import message, messages_of
from tests.messaging.rabbitmq_network import A1
from tests.messaging.rabbitmq_node import RabbitmqNode
from tests.messaging.relaying import LEASE_S, NAME, Scenario
from tests.processes.process import wait_until

QUEUE = "everything"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RabbitmqNode]:
    """A node that runs."""
    folder = tmp_path / "node"
    folder.mkdir()
    node = RabbitmqNode(folder)
    node.start()
    yield node
    node.kill()


@pytest.mark.slow
def test_a_node_that_is_killed(store: PaymentStore, pass_time: Callable[[float], None], node: RabbitmqNode) -> None:
    """Every event is in the durable queue after the restart, in order within a customer, and then the later ones."""
    with node.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        channel.queue_bind(QUEUE, EXCHANGE, "#")
    scenario = Scenario(store, pass_time)
    publisher = RabbitmqPublisher(node.url)
    relay = Relay(
        name=NAME,
        owner="one",
        store=store,
        make_messages=messages_of,
        publisher=publisher,
        lease_s=LEASE_S,
        monotonic=lambda: scenario.now,
        batch_max=20,
    )
    scenario.fill(30)
    for _ in range(3):
        relay.step()
    confirmed = scenario.at().position
    assert confirmed > 0
    node.kill()
    scenario.fill(5)
    for _ in range(3):
        scenario.wait(relay.step())
    assert relay.state.problem is not None
    assert scenario.at().position == confirmed
    node.start()
    scenario.drain(relay)
    publisher.close()
    versions: dict[str, list[int]] = {}
    seen: set[str] = set()
    version_of = {event.event_id: event for event in store.all_events(None, after=0, limit=1000)}
    with node.connect() as connection:
        channel = connection.channel()
        while (got := channel.basic_get(QUEUE, no_ack=True)) is not None:
            event = version_of[got.properties["message_id"]]
            if event.event_id not in seen:
                versions.setdefault(event.stream.id, []).append(event.version)
            seen.add(event.event_id)
    assert seen == version_of.keys()
    assert versions == {name: list(range(1, len(found) + 1)) for name, found in versions.items()}


@pytest.mark.slow
def test_hints_go_on_after_a_node_was_killed(node: RabbitmqNode) -> None:
    """The same queues declare everything anew, also when the node comes back without its data."""
    hints: list[WorkHint] = []
    consumer, announcer = RabbitmqQueue(node.url), RabbitmqQueue(node.url)
    consumer.subscribe(["gatewayA", "gatewayB"], hints.append)
    rounds = itertools.count()

    def flow(gateway: str) -> None:
        """Announce hints until one arrives."""
        first = next(rounds)

        def arrived() -> bool:
            announcer.announce(WorkHint(f"w-{next(rounds)}", None, gateway))
            return any(it.gateway == gateway and int(it.work_id[2:]) > first for it in hints)

        wait_until(arrived, "a hint arrives")

    with closing(consumer), closing(announcer):
        for lose in (lambda: None, node.lose_data):
            for gateway in ("gatewayA", "gatewayB"):
                flow(gateway)
            node.kill()
            for number in range(100):
                announcer.announce(WorkHint(f"lost-{number}", None, "gatewayA"))
            lose()
            hints.clear()
            node.start()
        for gateway in ("gatewayA", "gatewayB"):
            flow(gateway)


@pytest.mark.slow
def test_the_tls_and_the_credentials_of_a_node(
    node: RabbitmqNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own TLS is used. A virtual host that it refuses to a correct login is named without the password."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    with closing(RabbitmqPublisher(node.tls_url)) as publisher:
        assert publisher.publish([message(at, f"c{at % 7}") for at in range(50)]) == Published(50)
    hints: list[WorkHint] = []
    with closing(RabbitmqQueue(node.tls_url)) as queue:
        queue.subscribe(["gatewayA"], hints.append)
        queue.announce(A1)
        wait_until(lambda: hints == [A1], "the hint arrives")
    caplog.set_level(logging.DEBUG)
    for url in (f"{node.url}absent", f"{node.tls_url}absent"):
        with pytest.raises(BrokerUnavailableError, match="absent") as refusal:
            RabbitmqPublisher(url).publish(())
        with closing(RabbitmqQueue(url)) as queue:
            queue.announce(A1)
            wait_until(lambda queue=queue: queue.lost == 1, "the hint is lost")  # type: ignore[misc]
        assert "absent" in caplog.text
        shown = [caplog.text, repr(refusal.value), *traceback.format_exception(refusal.value)]
        assert not any(node.password in text for text in shown)
