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
from messaging.rabbitmq import announcing, consuming
from messaging.rabbitmq.publishing import EXCHANGE, RabbitmqPublisher
from messaging.rabbitmq.queue import RabbitmqQueue
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


class Flow:
    """An announcer and a consumer of hints at a node."""

    def __init__(self, node: RabbitmqNode) -> None:
        self._consumer, self.announcer = RabbitmqQueue(node.url), RabbitmqQueue(node.url)
        self._hints: list[WorkHint] = []
        self._numbers = itertools.count()

    def subscribe(self, *gateways: str) -> None:
        """Consume."""
        self._consumer.subscribe(gateways, self._hints.append)

    def check(self, gateway: str) -> None:
        """Announce hints until one arrives."""
        first = next(self._numbers)

        def arrived() -> bool:
            self.announcer.announce(WorkHint(f"w-{next(self._numbers)}", None, gateway))
            return any(it.gateway == gateway and int(it.work_id[2:]) > first for it in self._hints)

        wait_until(arrived, "a hint arrives")

    def close(self) -> None:
        """Close both."""
        self._consumer.close()
        self.announcer.close()


@pytest.mark.slow
def test_hints_go_on_after_a_node_was_killed(node: RabbitmqNode) -> None:
    """The same queues declare everything anew, also when the node comes back without its data."""

    def kept() -> None:
        wait_until(lambda: node.settled("payments.work.gatewayA", "payments.work.gatewayB"), "the node has the queues")
        node.kill()

    def lost() -> None:
        node.kill()
        node.lose_data()

    with closing(Flow(node)) as flow:
        flow.subscribe("gatewayA", "gatewayB")
        for kill in (kept, lost):
            for gateway in ("gatewayA", "gatewayB"):
                flow.check(gateway)
            kill()
            for number in range(100):
                flow.announcer.announce(WorkHint(f"w-{number}", None, "gatewayA"))
            node.start()
        for gateway in ("gatewayA", "gatewayB"):
            flow.check(gateway)


@pytest.mark.slow
def test_a_queue_that_does_not_answer(
    node: RabbitmqNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Hints of other gateways flow, and its own do so again when it answers. Each side logs once what is wrong."""
    for module in (announcing, consuming):
        monkeypatch.setattr(module, "REFUSED_S", 1.0)
    with closing(Flow(node)) as flow:
        flow.announcer.announce(WorkHint("w-0", None, "bad"))
        flow.subscribe("good")
        flow.check("good")

        def silent() -> None:
            flow.subscribe("bad")
            for _ in range(3):
                lost = flow.announcer.lost
                flow.announcer.announce(WorkHint("w-0", None, "bad"))
                wait_until(lambda lost=lost: flow.announcer.lost > lost, "it is lost")  # type: ignore[misc]
                flow.check("good")
            wait_until(lambda: "no answer within" in caplog.text, "the consumer logs it")

        node.suspend("payments.work.bad", until=silent)
        flow.check("bad")
        flow.check("good")
    logged = [record.message for record in caplog.records if record.name.startswith("messaging")]
    assert sorted(text.rpartition(": ")[2] for text in logged) == ["no answer within 2 s", "no confirm within 2 s"]


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
