"""What every adapter of the publisher port must do: confirmed means received, and nothing passes its predecessor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from messaging.port import BrokerUnavailableError, Message, Published
from tests.messaging.brokers import BROKERS, FULL, Broker, Delivery
from tests.messaging.builders import message


@pytest.fixture(params=sorted(BROKERS))
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker of each adapter."""
    broker = BROKERS[request.param]()
    yield broker
    broker.close()


def ids(deliveries: Sequence[Delivery]) -> list[int]:
    """The positions of the messages."""
    return [int(one.attributes["position"]) for one in deliveries]


def batch(*messages: tuple[int, str]) -> list[Message]:
    """Messages by position and customer. The customer FULL belongs to the merchant of that name."""
    return [message(at, customer, merchant=FULL if customer == FULL else "main") for at, customer in messages]


def test_messages_arrive_whole_and_in_order(broker: Broker) -> None:
    """With id, attributes and data."""
    messages = batch((1, "a"), (2, "b"), (3, "a"))
    assert broker.publisher().publish(messages) == Published(3)
    received = broker.received()
    assert ids(received) == [1, 2, 3]
    assert received == [Delivery(one.event_id, one.attributes, one.data) for one in messages]


def test_an_empty_batch_sends_nothing(broker: Broker) -> None:
    """It keeps the connection alive, before and after messages."""
    publisher = broker.publisher()
    assert publisher.publish(()) == Published(0)
    assert publisher.publish(batch((1, "a"))) == Published(1)
    for _ in range(3):
        assert publisher.publish(()) == Published(0)
    assert ids(broker.received()) == [1]


def test_many_messages(broker: Broker) -> None:
    """Several batches of many customers: all arrive once, in order within each customer."""
    publisher, size = broker.publisher(), 400
    for start in range(0, 3 * size, size):
        messages = batch(*((at, f"c{at * 7 % 40}") for at in range(start, start + size)))
        assert publisher.publish(messages) == Published(size)
    received = ids(broker.received())
    assert sorted(received) == list(range(3 * size))
    for customer in range(40):
        ours = [at for at in received if at * 7 % 40 == customer]
        assert ours == sorted(ours)


def test_a_refused_message(broker: Broker) -> None:
    """Everything before it is confirmed, and nothing of its partition key passes it. Later it may be accepted."""
    broker.fill()
    publisher = broker.publisher()
    messages = batch((1, "a"), (2, "a"), (3, FULL), (4, "b"), (5, FULL), (6, "b"))
    published = publisher.publish(messages)
    assert published.confirmed == 2
    assert published.refused is not None
    assert published.refused.position == 3
    assert published.refused.reason
    assert {1, 2} <= set(ids(broker.received())) <= {1, 2, 3, 4}
    broker.empty()
    assert publisher.publish(messages[2:]) == Published(4)
    received = ids(broker.received())
    assert set(received) == {3, 4, 5, 6}
    assert received.index(3) < received.index(5)


def test_a_refused_first_message(broker: Broker) -> None:
    """Nothing is confirmed; the next batch is tried anew."""
    broker.fill()
    publisher = broker.publisher()
    for _ in range(2):
        published = publisher.publish(batch((7, FULL)))
        assert (published.confirmed, published.refused and published.refused.position) == (0, 7)
    assert publisher.publish(batch((8, "a"))) == Published(1)


def test_a_broker_that_is_away(broker: Broker) -> None:
    """Each call says so. Once it is back the same publisher works."""
    publisher = broker.publisher()
    broker.go_away()
    for messages in (batch((1, "a")), (), batch((1, "a"))):
        with pytest.raises(BrokerUnavailableError):
            publisher.publish(messages)
    broker.come_back()
    assert publisher.publish(batch((1, "a"), (2, "a"))) == Published(2)
    assert ids(broker.received()) == [1, 2]


def test_a_broker_that_goes_away_and_comes_back(broker: Broker) -> None:
    """The lost connection is noticed by the next call at the latest, and then replaced."""
    publisher = broker.publisher()
    for number in range(3):
        assert publisher.publish(batch((number, "a"))) == Published(1)
        broker.go_away()
        with pytest.raises(BrokerUnavailableError):
            publisher.publish(batch((99, "a")))
        broker.come_back()
    assert publisher.publish(batch((3, "a"))) == Published(1)
    assert ids(broker.received()) == [0, 1, 2, 3]


def test_a_lost_confirm(broker: Broker) -> None:
    """The message arrived, and the publisher cannot know. It is published again, before its successors."""
    publisher = broker.publisher()
    broker.lose_next_confirm()
    messages = batch((1, "a"), (2, "a"))
    with pytest.raises(BrokerUnavailableError):
        publisher.publish(messages)
    assert publisher.publish(messages) == Published(2)
    assert ids(broker.received()) == [1, 1, 2]


def test_a_closed_publisher_connects_again(broker: Broker) -> None:
    """Closing twice, and before the first batch, does no harm."""
    publisher = broker.publisher()
    publisher.close()
    for number in range(2):
        assert publisher.publish(batch((number, "a"))) == Published(1)
        publisher.close()
        publisher.close()
    assert ids(broker.received()) == [0, 1]


def test_two_publishers_do_not_disturb_each_other(broker: Broker) -> None:
    """The relays of two processes may publish at the same time, when one was frozen."""
    one, two = broker.publisher(), broker.publisher()
    assert one.publish(batch((1, "a"))) == Published(1)
    assert two.publish(batch((1, "a"), (2, "a"))) == Published(2)
    one.close()
    assert two.publish(batch((3, "a"))) == Published(1)
    assert ids(broker.received()) == [1, 1, 2, 3]
