"""What only the adapter of RabbitMQ has: properties, topology, unroutable messages, and what the broker refuses."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import amqp
import pytest

from messaging.cloud_events import CloudEvents
from messaging.port import BrokerUnavailableError, Published
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.frames import Outgoing
from messaging.rabbitmq.link import Confirms, Link
from messaging.rabbitmq.publishing import RabbitmqPublisher, routing_key
from store.port import StreamKey
from tests.messaging.brokers import BROKERS, RABBITMQ_URL, RabbitMQ
from tests.messaging.builders import message
from tests.messaging.recorded import recorded

UNDER_GEVENT: Final = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from messaging.rabbitmq.publishing import RabbitmqPublisher
from tests.messaging.builders import message
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.001)
gevent.spawn(tick)
publisher = RabbitmqPublisher(sys.argv[1], exchange=sys.argv[2])
published = publisher.publish([message(at, f"c{at % 50}") for at in range(500)])
publisher.publish(())
publisher.close()
print(published.confirmed, ticks > 2)
"""


@pytest.fixture
def broker() -> Iterator[RabbitMQ]:
    """A server with an exchange and a queue of this test."""
    broker = BROKERS["rabbitmq"]()
    assert isinstance(broker, RabbitMQ)
    yield broker
    broker.close()


def test_a_message_as_a_consumer_sees_it(broker: RabbitMQ) -> None:
    """Persistent, with the event's id, the content type, and the attributes as headers with a prefix."""
    sent = replace(message(1, merchant="shop.eu"), attributes={"specversion": "1.0", "subject": "Zoë"})
    broker.publisher().publish([sent])
    (got,) = broker.raw()
    assert got.delivery_info["exchange"] == broker.exchange
    assert got.delivery_info["routing_key"] == "shop_eu.DepositCompleted"
    assert got.properties["delivery_mode"] == 2
    assert got.properties["message_id"] == sent.event_id
    assert got.properties["content_type"] == "application/json"
    assert got.headers == {"ce-specversion": "1.0", "ce-subject": "Zoë"}


@pytest.mark.parametrize("mode", ["rabbitmq", "rabbitmq-structured"])
def test_events_of_every_kind_in_both_modes(tmp_path: Path, mode: str) -> None:
    """The SDK of the CloudEvents project reads from the broker what was published."""
    broker = BROKERS[mode]()
    with closing(broker), recorded(tmp_path) as store:
        events = store.all_events(None, after=0, limit=1000)
        messages = CloudEvents(store, "https://payments.example.com").messages(events, 2)
        assert broker.publisher().publish(messages) == Published(len(messages))
        received = broker.received()
    assert {it.event_id: (it.attributes, json.loads(it.data)) for it in received} == {
        it.event_id: (it.attributes, json.loads(it.data)) for it in messages
    }


def test_structured_mode_as_a_consumer_sees_it() -> None:
    """The body holds everything, its content type says so, and no header repeats an attribute."""
    broker = BROKERS["rabbitmq-structured"]()
    assert isinstance(broker, RabbitMQ)
    with closing(broker):
        broker.publisher().publish([message(1)])
        (got,) = broker.raw()
    assert got.properties == {
        "content_type": "application/cloudevents+json",
        "delivery_mode": 2,
        "message_id": "event-1",
    }
    assert got.delivery_info["routing_key"] == "main.DepositCompleted"


@pytest.mark.parametrize(
    ("merchant", "expected"),
    [("main", "main.DepositCompleted"), ("a.b.c", "a_b_c.DepositCompleted"), ("a_b", "a_b.DepositCompleted")],
)
def test_routing_keys(merchant: str, expected: str) -> None:
    """A dot separates the words of a key, so the name has none."""
    assert routing_key(message(1, merchant=merchant)) == expected


def test_a_large_message(broker: RabbitMQ) -> None:
    """More than a frame of the protocol holds."""
    sent = replace(message(1), data=b'"%b"' % (b"x" * 1_000_000))
    assert broker.publisher().publish([sent]) == Published(1)
    (got,) = broker.received()
    assert got.data == sent.data


def test_an_unroutable_message_is_confirmed_and_counted(broker: RabbitMQ) -> None:
    """Nobody may be interested in some events: that is no error."""
    broker.channel.queue_unbind(broker.queue, broker.exchange, "#")
    broker.channel.queue_bind(broker.queue, broker.exchange, "main.#")
    publisher = broker.publisher()
    batch = [message(1), message(2, merchant="other"), message(3), message(4, "c2", merchant="other")]
    assert publisher.publish(batch) == Published(4)
    assert publisher.unroutable == 2
    assert [one.event_id for one in broker.received()] == ["event-1", "event-3"]


def test_the_exchange_is_declared_after_each_connect(broker: RabbitMQ) -> None:
    """A broker without it gets it: durable, of the type topic, without arguments."""
    publisher = broker.publisher()
    for _ in range(2):
        broker.channel.exchange_delete(broker.exchange)
        publisher.close()
        assert publisher.publish([message(1)]) == Published(1)
        broker.declare()  # fails if it differs
    assert publisher.publish([message(2)]) == Published(1)
    assert [one.event_id for one in broker.received()] == ["event-2"]


def test_an_exchange_that_vanishes_under_the_connection(broker: RabbitMQ) -> None:
    """The broker closes the channel. The messages are published again on a new one, after the declaration."""
    publisher = broker.publisher()
    publisher.publish([message(0)])
    broker.channel.exchange_delete(broker.exchange)
    assert publisher.publish([message(1), message(2, "c2"), message(3)]) == Published(3)
    broker.declare()
    assert publisher.publish([message(4)]) == Published(1)


def test_an_exchange_that_stays_away_is_no_refusal_of_a_message(
    broker: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is deleted again and again. No event is in doubt."""
    broker.channel.exchange_delete(broker.exchange)
    monkeypatch.setattr(amqp.Channel, "exchange_declare", lambda *_, **__: None)
    with pytest.raises(BrokerUnavailableError, match=r"RabbitMQ at 127\.0\.0\.1:.*NOT_FOUND"):
        broker.publisher().publish([message(1)])


@pytest.mark.parametrize("error", [ValueError("odd"), struct.error("odd"), UnicodeError("odd")])
def test_an_error_of_the_library_while_it_connects(
    broker: RabbitMQ, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It counts as a broker that cannot be reached, without a traceback at each attempt."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(amqp.Connection, "connect", fail)
    with pytest.raises(BrokerUnavailableError, match=r"RabbitMQ at 127\.0\.0\.1:\d+: odd"):
        broker.publisher().publish([message(1)])


def test_a_closed_connection_stays_closed(broker: RabbitMQ) -> None:
    """What is published on it is refused. The library would connect again, without the confirms."""
    link = Link(Address.of(RABBITMQ_URL), name="a test")
    link.open()
    confirms = Confirms(link, link.channel(), broker.exchange, lambda _: None)
    link.close()
    with pytest.raises(amqp.RecoverableConnectionError):
        confirms.publish([Outgoing(0, "main.x", b"{}", "application/json")])


def test_an_exchange_of_another_kind(broker: RabbitMQ) -> None:
    """It cannot be declared. The text says why."""
    broker.channel.exchange_delete(broker.exchange)
    broker.channel.exchange_declare(broker.exchange, "direct", durable=True, auto_delete=False)
    with pytest.raises(BrokerUnavailableError, match="inequivalent arg 'type'"):
        broker.publisher().publish([message(1)])


@pytest.mark.parametrize(
    "wrong", [replace(message(2), event_id="x" * 256), replace(message(2), stream=StreamKey("n" * 250, "c"))]
)
def test_a_message_without_a_form_in_the_protocol_is_refused(broker: RabbitMQ, wrong: object) -> None:
    """It does not break the connection, and those before it are confirmed."""
    batch = [message(1), wrong, message(3, "c3")]
    published = broker.publisher().publish(batch)  # type: ignore[arg-type]
    assert published.confirmed == 1
    assert published.refused is not None
    assert published.refused.position == 2
    assert "longer than 255 bytes" in published.refused.reason


def test_a_broker_that_does_not_confirm(broker: RabbitMQ) -> None:
    """After a time limit the connection is given up; nothing waits for ever."""
    publisher = RabbitmqPublisher(
        f"amqp://guest:guest@127.0.0.1:{broker.proxy.port}/", exchange=broker.exchange, confirm_s=0.2
    )
    publisher.publish(())
    broker.proxy.hold_answers()
    with pytest.raises(BrokerUnavailableError):
        publisher.publish([message(1)])
    assert publisher.publish([message(2)]) == Published(1)
    publisher.close()


def test_it_cooperates_under_gevent(broker: RabbitMQ) -> None:
    """Other greenlets run while it waits for confirms."""
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, RABBITMQ_URL, broker.exchange],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("500 True\n", 0), done.stderr
    assert len(broker.received()) == 500
