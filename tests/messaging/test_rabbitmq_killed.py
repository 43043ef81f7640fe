"""A RabbitMQ node that is killed with SIGKILL keeps what it confirmed, and the relay publishes the rest after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from messaging.rabbitmq import EXCHANGE, RabbitmqPublisher
from messaging.relay import Relay
from store.backend import PaymentStore
from tests.messaging.builders import messages_of
from tests.messaging.rabbitmq_node import RabbitmqNode
from tests.messaging.relaying import LEASE_S, NAME, Scenario

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
