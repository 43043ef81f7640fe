"""What only the queue of RabbitMQ has: topology, foreign messages, and declarations that are refused."""

from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace

import amqp
import pytest

from messaging.hints import HINT_MAX
from messaging.port import WorkHint
from messaging.rabbitmq import announcing, consuming
from messaging.rabbitmq.thread import YIELD_S
from messaging.rabbitmq.topology import Names
from tests.messaging.rabbitmq_network import A1, A2, B1, RabbitmqNetwork, subscribed
from tests.processes.process import wait_until

ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-message-ttl": 60_000,
    "x-delivery-limit": 5,
    "x-max-length": 10_000,
    "x-max-length-bytes": 1_048_576,
    "x-overflow": "drop-head",
}


def test_a_hint_as_a_consumer_sees_it(mq: RabbitmqNetwork) -> None:
    """A persistent message of JSON with an expiry, in the documented queue."""
    mq.queue().announce(A2)
    found: list[amqp.Message] = []

    def arrived() -> bool:
        try:
            got = mq.channel.basic_get(mq.names.queue("gatewayA"), no_ack=True)
        except amqp.NotFound:
            return False
        found.extend([] if got is None else [got])
        return bool(found)

    wait_until(arrived, "the hint arrives")
    (got,) = found
    assert json.loads(got.body) == {"work_id": "w-2", "transaction_id": None, "gateway": "gatewayA"}
    assert got.delivery_info["exchange"] == mq.names.exchange
    assert got.delivery_info["routing_key"] == "gatewayA"
    properties = {key: text for key, text in got.properties.items() if key != "application_headers"}
    assert properties == {"content_type": "application/json", "delivery_mode": 2, "expiration": "60000"}


def test_the_documented_names() -> None:
    """Operators write policies for them."""
    names = Names()
    assert (names.exchange, names.queue("gatewayA")) == ("payments.work", "payments.work.gatewayA")


def test_the_topology(mq: RabbitmqNetwork) -> None:
    """A durable direct exchange, and a durable quorum queue with limits. The broker refuses any difference."""
    subscribed(mq, "gatewayA")
    mq.channel.exchange_declare(mq.names.exchange, "direct", durable=True, auto_delete=False)
    mq.channel.queue_declare(mq.names.queue("gatewayA"), durable=True, auto_delete=False, arguments=ARGUMENTS)
    for name in ARGUMENTS:
        less = {key: value for key, value in ARGUMENTS.items() if key != name}
        with pytest.raises(amqp.PreconditionFailed, match=name):
            mq.channel.queue_declare(mq.names.queue("gatewayA"), durable=True, auto_delete=False, arguments=less)


@pytest.mark.parametrize("gateway", ["häuser/ü ~x.1", "#", "a.*", "x" * 150])
def test_names_of_gateways_with_special_characters(mq: RabbitmqNetwork, gateway: str) -> None:
    """They are part of the queue's name as they are, and mean nothing to the exchange."""
    _, hints = subscribed(mq, gateway)
    other, _ = subscribed(mq, "gatewayA")
    mq.queue().announce(A1)
    mq.queue().announce(WorkHint("w", None, gateway))
    mq.settle(lambda: bool(hints) and other.received == 1)
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
    b'{"work_id": "w", "transaction_id": null, "gateway": "gatewayA"}' + b" " * HINT_MAX,
]


def test_malformed_hints(mq: RabbitmqNetwork, caplog: pytest.LogCaptureFixture) -> None:
    """Each is acknowledged and counted. The first is logged, without its text. Hints behind them are delivered."""
    queue, hints = subscribed(mq, "gatewayA", "gatewayB")
    for body in MALFORMED:
        mq.channel.basic_publish(amqp.Message(body), mq.names.exchange, "gatewayA")
    mq.queue().announce(A1)
    mq.settle(lambda: bool(hints))
    assert hints == [A1]
    assert (queue.received, queue.malformed) == (1, len(MALFORMED))
    (record,) = caplog.records
    assert "is no hint" in record.message
    queue.close()
    assert mq.channel.queue_declare(mq.names.queue("gatewayA"), passive=True).message_count == 0


def test_other_threads_run_after_each_large_message(mq: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pile of them does not keep a processor from its other work."""
    waits: list[float] = []
    monkeypatch.setattr(consuming, "time", SimpleNamespace(monotonic=time.monotonic, sleep=waits.append))
    queue, hints = subscribed(mq, "gatewayA")
    for _ in range(3):
        mq.channel.basic_publish(amqp.Message(b"[" * (HINT_MAX + 1)), mq.names.exchange, "gatewayA")
    mq.queue().announce(A1)
    mq.settle(lambda: bool(hints))
    assert queue.malformed == 3
    assert waits == [YIELD_S] * 3


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
def test_properties_of_foreign_messages_do_not_matter(mq: RabbitmqNetwork, odd: dict[str, object]) -> None:
    """Even those that are not in UTF-8."""
    queue, hints = subscribed(mq, "gatewayA")
    body = b'{"work_id": "w-1", "transaction_id": "t-1", "gateway": "gatewayA", "later": 1}'
    mq.channel.basic_publish(amqp.Message(body, **odd), mq.names.exchange, "gatewayA")
    mq.settle(lambda: bool(hints))
    assert hints == [A1]
    assert queue.malformed == 0


def test_the_queue_is_deleted_under_its_consumer(mq: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides declare it anew."""
    for module in (announcing, consuming):
        monkeypatch.setattr(module, "DELETED_S", 0.2)
    _, hints = subscribed(mq, "gatewayA")
    announcer = mq.queue()
    announcer.announce(A1)
    mq.settle(lambda: hints == [A1])
    for _ in range(2):
        hints.clear()
        mq.channel.queue_delete(mq.names.queue("gatewayA"))

        def announced() -> bool:
            announcer.announce(A2)
            return bool(hints)

        mq.settle(announced)
        assert set(hints) == {A2}


def test_the_exchange_is_deleted(mq: RabbitmqNetwork) -> None:
    """The broker closes the channel. The next connection declares it anew, and binds the queue again."""
    _, hints = subscribed(mq, "gatewayA")
    announcer = mq.queue()
    announcer.announce(A1)
    mq.settle(lambda: hints == [A1])
    mq.channel.exchange_delete(mq.names.exchange)

    def announced() -> bool:
        announcer.announce(A2)
        return A2 in hints

    mq.settle(announced)
    assert A2 in hints


@pytest.mark.parametrize("what", ["queue", "exchange"])
def test_topology_with_other_arguments(mq: RabbitmqNetwork, caplog: pytest.LogCaptureFixture, what: str) -> None:
    """It is used as it is, with one warning on each side that names the difference. Other gateways have none."""
    if what == "queue":
        mq.channel.queue_declare(mq.names.queue("gatewayA"), durable=True, auto_delete=False)
    else:
        mq.channel.exchange_declare(mq.names.exchange, "topic", durable=True, auto_delete=False)
    _, hints = subscribed(mq, "gatewayA")
    announcer = mq.queue()
    announcer.announce(A1)
    announcer.announce(A2)
    mq.settle(lambda: len(hints) == 2)
    assert sorted(hints) == sorted([A1, A2])
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.levelno == logging.WARNING
        assert "PRECONDITION_FAILED - inequivalent arg" in record.message
        assert record.fields["queue"] == mq.names.queue("gatewayA")  # type: ignore[attr-defined]


def test_a_queue_that_cannot_be_consumed(
    mq: RabbitmqNetwork, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are, and the warning comes once. When the reason is gone it is consumed."""
    monkeypatch.setattr(consuming, "REFUSED_S", 0.5)
    with amqp.Connection(host=f"{mq._address.host}:{mq._address.port}") as other:
        other.channel().queue_declare(mq.names.queue("gatewayA"), exclusive=True, auto_delete=False)
        queue, hints = mq.queue(), list[WorkHint]()
        queue.subscribe(["gatewayA", "gatewayB"], hints.append)
        mq.queue().announce(B1)
        mq.settle(lambda: hints == [B1])
        tried = queue._consuming._not_before["gatewayA"]
        wait_until(lambda: queue._consuming._not_before["gatewayA"] > tried, "it is tried again")
        assert hints == [B1]
    wait_until(lambda: "gatewayA" in queue._consuming._consumed, "it is consumed")
    mq.queue().announce(A1)
    mq.settle(lambda: A1 in hints)
    assert hints == [B1, A1]
    (record,) = caplog.records
    assert "RESOURCE_LOCKED" in record.message
