"""What only the queue of RabbitMQ has: topology, foreign messages, refused declarations, heartbeats and counters."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import amqp
import pytest

from messaging import hints as work_hints
from messaging import rabbitmq_announcing, rabbitmq_consuming, rabbitmq_link
from messaging.port import WorkHint
from messaging.rabbitmq_queue import RabbitmqQueue
from messaging.rabbitmq_topology import Names
from tests.messaging.rabbitmq_network import RabbitmqNetwork
from tests.processes.process import wait_until

A1 = WorkHint("w-1", "t-1", "gatewayA")
A2 = WorkHint("w-2", None, "gatewayA")
B1 = WorkHint("w-3", "t-3", "gatewayB")
ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-message-ttl": 60_000,
    "x-delivery-limit": 5,
    "x-max-length": 10_000,
    "x-overflow": "drop-head",
}
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


@pytest.fixture
def network() -> Iterator[RabbitmqNetwork]:
    """A server with names of this test."""
    network = RabbitmqNetwork()
    yield network
    network.close()


def subscribed(network: RabbitmqNetwork, *gateways: str) -> tuple[RabbitmqQueue, list[WorkHint]]:
    """A queue that consumes, and what it got."""
    queue, hints = network.queue(), list[WorkHint]()
    queue.subscribe(gateways, hints.append)
    wait_until(lambda: queue._consuming._consumed == {*gateways}, "the queues are consumed")
    return queue, hints


def counted(holds: Callable[[], bool]) -> None:
    """Wait for a counter."""
    wait_until(holds, "the counter goes up")


def test_a_hint_as_a_consumer_sees_it(network: RabbitmqNetwork) -> None:
    """A persistent message of JSON with an expiry, in the documented queue."""
    network.queue().announce(A2)
    found: list[amqp.Message] = []

    def arrived() -> bool:
        try:
            got = network.channel.basic_get(network.names.queue("gatewayA"), no_ack=True)
        except amqp.NotFound:
            return False
        found.extend([] if got is None else [got])
        return bool(found)

    wait_until(arrived, "the hint arrives")
    (got,) = found
    assert json.loads(got.body) == {"work_id": "w-2", "transaction_id": None, "gateway": "gatewayA"}
    assert got.delivery_info["exchange"] == network.names.exchange
    assert got.delivery_info["routing_key"] == "gatewayA"
    properties = {key: text for key, text in got.properties.items() if key != "application_headers"}
    assert properties == {"content_type": "application/json", "delivery_mode": 2, "expiration": "60000"}


def test_the_documented_names() -> None:
    """Operators write policies for them."""
    names = Names()
    assert (names.exchange, names.queue("gatewayA")) == ("payments.work", "payments.work.gatewayA")


def test_the_topology(network: RabbitmqNetwork) -> None:
    """A durable direct exchange, and a durable quorum queue with limits. The broker refuses any difference."""
    subscribed(network, "gatewayA")
    network.channel.exchange_declare(network.names.exchange, "direct", durable=True, auto_delete=False)
    network.channel.queue_declare(network.names.queue("gatewayA"), durable=True, auto_delete=False, arguments=ARGUMENTS)
    for name in ARGUMENTS:
        less = {key: value for key, value in ARGUMENTS.items() if key != name}
        with pytest.raises(amqp.PreconditionFailed, match=name):
            network.channel.queue_declare(
                network.names.queue("gatewayA"), durable=True, auto_delete=False, arguments=less
            )


@pytest.mark.parametrize("gateway", ["häuser/ü ~x.1", "#", "a.*", "x" * 150])
def test_names_of_gateways_with_special_characters(network: RabbitmqNetwork, gateway: str) -> None:
    """They are part of the queue's name as they are, and mean nothing to the exchange."""
    _, hints = subscribed(network, gateway)
    other, _ = subscribed(network, "gatewayA")
    network.queue().announce(A1)
    network.queue().announce(WorkHint("w", None, gateway))
    network.settle(lambda: bool(hints) and other.received == 1)
    assert hints == [WorkHint("w", None, gateway)]
    assert other.received == 1


MALFORMED = [
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"{",
    b"[" * 100_000,
    b'{"work_id": "w", "gateway": "gatewayA"}',
    b'{"work_id": 1, "transaction_id": null, "gateway": "gatewayA"}',
    b'{"work_id": "w", "transaction_id": {}, "gateway": "gatewayA"}',
    b'{"work_id": "w", "transaction_id": null, "gateway": "gatewayB"}',
    b'{"work_id": "\xff", "transaction_id": null, "gateway": "gatewayA"}',
    b'{"work_id": "w", "transaction_id": null, "gateway": "gatewayA"} x',
]


def test_malformed_hints(network: RabbitmqNetwork, caplog: pytest.LogCaptureFixture) -> None:
    """Each is acknowledged and counted. The first is logged, without its text. Hints behind them are delivered."""
    queue, hints = subscribed(network, "gatewayA", "gatewayB")
    for body in MALFORMED:
        network.channel.basic_publish(amqp.Message(body), network.names.exchange, "gatewayA")
    network.queue().announce(A1)
    network.settle(lambda: bool(hints))
    assert hints == [A1]
    assert (queue.received, queue.malformed) == (1, len(MALFORMED))
    (record,) = caplog.records
    assert "is no hint" in record.message
    queue.close()
    assert network.channel.queue_declare(network.names.queue("gatewayA"), passive=True).message_count == 0


@pytest.mark.parametrize(
    "odd",
    [
        {"content_type": b"\xff\xfe"},
        {"content_encoding": "gzip"},
        {"content_encoding": b"\xff"},
        {"application_headers": {"a": b"\xff", "b": [None, {"c": 1.5}]}},
        {"expiration": "1000", "priority": 255, "timestamp": 2**63 - 1},
    ],
)
def test_properties_of_foreign_messages_do_not_matter(network: RabbitmqNetwork, odd: dict[str, object]) -> None:
    """Even those that are not in UTF-8."""
    queue, hints = subscribed(network, "gatewayA")
    body = b'{"work_id": "w-1", "transaction_id": "t-1", "gateway": "gatewayA", "later": 1}'
    network.channel.basic_publish(amqp.Message(body, **odd), network.names.exchange, "gatewayA")
    network.settle(lambda: bool(hints))
    assert hints == [A1]
    assert queue.malformed == 0


def test_a_defect_that_the_adapter_does_not_know(
    network: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs the connection, not the thread. What was not acknowledged is delivered again."""
    _, hints = subscribed(network, "gatewayA")
    real = work_hints.decode
    errors = [MemoryError("a defect")]

    def decode(body: bytes, gateway: str) -> WorkHint:
        if errors:
            raise errors.pop()
        return real(body, gateway)

    monkeypatch.setattr("messaging.hints.decode", decode)
    network.queue().announce(A1)
    network.settle(lambda: bool(hints))
    assert hints == [A1]
    assert "MemoryError: a defect" in caplog.text


def test_the_queue_is_deleted_under_its_consumer(network: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is declared anew, by both sides, without a new connection."""
    for module in (rabbitmq_announcing, rabbitmq_consuming):
        monkeypatch.setattr(module, "DELETED_S", 0.2)
    _, hints = subscribed(network, "gatewayA")
    announcer = network.queue()
    announcer.announce(A1)
    network.settle(lambda: hints == [A1])
    for _ in range(2):
        hints.clear()
        network.channel.queue_delete(network.names.queue("gatewayA"))

        def announced() -> bool:
            announcer.announce(A2)
            return bool(hints)

        network.settle(announced)
        assert set(hints) == {A2}
    assert network.proxy._accepted == 2


def test_the_exchange_is_deleted(network: RabbitmqNetwork) -> None:
    """The broker closes the channel. The next connection declares it anew, and binds the queue again."""
    _, hints = subscribed(network, "gatewayA")
    announcer = network.queue()
    announcer.announce(A1)
    network.settle(lambda: hints == [A1])
    network.channel.exchange_delete(network.names.exchange)

    def announced() -> bool:
        announcer.announce(A2)
        return A2 in hints

    network.settle(announced)
    assert A2 in hints


def test_unroutable_hints_are_counted(network: RabbitmqNetwork) -> None:
    """The broker has confirmed them, and no queue has them."""
    announcer = network.queue()
    announcer.announce(A1)
    counted(lambda: announcer.announced == 1)
    network.channel.queue_delete(network.names.queue("gatewayA"))
    announcer.announce(A1)
    announcer.announce(B1)
    counted(lambda: announcer.announced == 3)
    assert (announcer.unroutable, announcer.lost) == (1, 0)


@pytest.mark.parametrize("what", ["queue", "exchange"])
def test_topology_with_other_arguments(network: RabbitmqNetwork, caplog: pytest.LogCaptureFixture, what: str) -> None:
    """It is used as it is, with one warning on each side that says what differs. Other gateways have none."""
    if what == "queue":
        network.channel.queue_declare(network.names.queue("gatewayA"), durable=True, auto_delete=False)
    else:
        network.channel.exchange_declare(network.names.exchange, "topic", durable=True, auto_delete=False)
    _, hints = subscribed(network, "gatewayA")
    announcer = network.queue()
    announcer.announce(A1)
    announcer.announce(A2)
    network.settle(lambda: len(hints) == 2)
    assert sorted(hints) == sorted([A1, A2])
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.levelno == logging.WARNING
        assert "PRECONDITION_FAILED - inequivalent arg" in record.message
        assert record.fields["queue"] == network.names.queue("gatewayA")  # type: ignore[attr-defined]


def test_a_queue_that_cannot_be_consumed(
    network: RabbitmqNetwork, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are, and the warning comes once. When the reason is gone it is consumed."""
    monkeypatch.setattr(rabbitmq_consuming, "REFUSED_S", 0.5)
    with amqp.Connection(host=f"{network._address.host}:{network._address.port}") as other:
        other.channel().queue_declare(network.names.queue("gatewayA"), exclusive=True, auto_delete=False)
        queue, hints = network.queue(), list[WorkHint]()
        queue.subscribe(["gatewayA", "gatewayB"], hints.append)
        network.queue().announce(B1)
        network.settle(lambda: hints == [B1])
        tried = queue._consuming._not_before["gatewayA"]
        wait_until(lambda: queue._consuming._not_before["gatewayA"] > tried, "it is tried again")
        assert hints == [B1]
    wait_until(lambda: "gatewayA" in queue._consuming._consumed, "it is consumed")
    network.queue().announce(A1)
    network.settle(lambda: A1 in hints)
    assert hints == [B1, A1]
    (record,) = caplog.records
    assert "RESOURCE_LOCKED" in record.message


def test_a_full_buffer_loses_the_oldest_hints(network: RabbitmqNetwork) -> None:
    """So memory has a bound while the broker does not answer. After a failed connect nothing old is kept."""
    network.proxy.go_away()
    queue = network.queue(buffer_max=3)
    for _ in range(100):
        queue.announce(A1)
        assert len(queue._announcing._buffer) <= 3
    counted(lambda: queue.lost == 100)
    queue.close()
    queue.announce(A1)
    assert (queue.lost, queue.announced) == (101, 0)


def test_hints_that_are_not_confirmed_are_lost(network: RabbitmqNetwork) -> None:
    """After a time limit the connection is replaced; later hints are confirmed."""
    queue = network.queue(confirm_s=0.2)
    queue.announce(A1)
    counted(lambda: queue.announced == 1)
    network.proxy.hold_answers()
    queue.announce(A1)
    counted(lambda: queue.lost == 1)
    queue.announce(A1)
    counted(lambda: queue.announced == 2)


def test_idle_connections_send_heartbeats(network: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both sides, so that the broker keeps them."""
    monkeypatch.setattr(rabbitmq_link, "HEARTBEAT_S", 1)
    sent: set[int] = set()

    def look(data: bytes) -> None:
        if data == HEARTBEAT:
            sent.add(threading.get_ident())  # of one connection

    network.proxy.on_request = look
    queue, hints = subscribed(network, "gatewayA")
    queue.announce(A1)
    network.settle(lambda: hints == [A1])
    wait_until(lambda: len(sent) == 2, "both send heartbeats")
    assert network.proxy._accepted == 2


@pytest.mark.parametrize("frozen", ["before", "after"])
def test_a_frozen_broker_does_not_hold_a_close(network: RabbitmqNetwork, frozen: str) -> None:
    """Both threads end: while they wait for the broker, and when it does not answer to the farewell."""
    queue, _ = subscribed(network, "gatewayA")
    if frozen == "after":
        queue.announce(A1)
        counted(lambda: queue.announced == 1)
    network.proxy.hold_answers()
    queue.announce(A1)
    queue.announce(B1)
    queue.close()
    assert ended(queue)


def test_a_host_that_drops_packets_does_not_hold_a_close(silent_port: int) -> None:
    """Both threads end while they connect."""
    queue = RabbitmqQueue(f"amqp://guest:guest@127.0.0.1:{silent_port}/")
    queue.subscribe(["gatewayA"], lambda _: None)
    queue.announce(A1)
    wait_until(lambda: all(side._thread._link for side in (queue._announcing, queue._consuming)), "both connect")
    queue.close()
    assert ended(queue)
    assert queue.lost == 1


def test_a_handler_may_close_its_queue(network: RabbitmqNetwork) -> None:
    """Nothing is delivered afterwards."""
    queue, hints = network.queue(), list[WorkHint]()

    def handle(hint: WorkHint, /) -> None:
        hints.append(hint)
        queue.close()

    queue.subscribe(["gatewayA"], handle)
    network.queue().announce(A1)
    network.queue().announce(A2)
    network.settle(lambda: bool(hints))
    wait_until(lambda: ended(queue), "its threads end")
    assert len(hints) == 1


def test_nothing_is_opened_before_it_is_used(network: RabbitmqNetwork) -> None:
    """A queue may be made before a fork; an unused one costs nothing, also at its end."""
    network.queue().close()
    assert network.proxy._accepted == 0


def ended(queue: RabbitmqQueue) -> bool:
    """Whether no thread of the queue lives."""
    return not any(side._thread._thread.is_alive() for side in (queue._announcing, queue._consuming))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose packets are dropped: the queue of its listener is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        waiting = []
        for _ in range(2):
            one = socket.socket()
            one.settimeout(0)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            waiting.append(one)
        yield port
        for one in waiting:
            one.close()
