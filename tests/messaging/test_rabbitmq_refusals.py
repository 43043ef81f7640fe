"""What the broker refuses: a message, which an operator may skip, or the rights of the user, which are repaired."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from messaging.port import BrokerUnavailableError, Published
from messaging.rabbitmq.publishing import EXCHANGE, RabbitmqPublisher
from tests.messaging.builders import message
from tests.messaging.rabbitmq_node import MESSAGE_MAX, USER, RabbitmqNode


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitmqNode]:
    """A node that runs."""
    node = RabbitmqNode(tmp_path_factory.mktemp("node"))
    node.start()
    yield node
    node.kill()


def test_a_lost_permission_is_no_refusal_of_a_message(node: RabbitmqNode) -> None:
    """No event is in doubt. The error names the broker and not the user, and publishing goes on with the permission."""
    batch = [message(1), message(2, "c2")]
    with closing(RabbitmqPublisher(node.url)) as publisher:
        publisher.publish([message(0)])
        node.permit(configure=".*", write="", read=".*")
        publisher.close()
        for _ in range(2):
            with pytest.raises(BrokerUnavailableError, match="ACCESS_REFUSED") as failure:
                publisher.publish(batch)
            assert str(failure.value).startswith(f"RabbitMQ at 127.0.0.1:{node.port}: Basic.publish: (403)")
            assert f"'{USER}'" not in str(failure.value)
            assert f"'{EXCHANGE}'" in str(failure.value)
        node.permit(configure=".*", write=".*", read=".*")
        assert publisher.publish(batch) == Published(2)


def test_a_message_that_is_too_large_is_refused(node: RabbitmqNode) -> None:
    """Those before it are confirmed."""
    batch = [message(1), replace(message(2, "c2"), data=b"x" * (MESSAGE_MAX + 1)), message(3, "c3")]
    with closing(RabbitmqPublisher(node.url)) as publisher:
        published = publisher.publish(batch)
    assert published.confirmed == 1
    assert published.refused is not None
    assert published.refused.position == 2
    assert "(406) PRECONDITION_FAILED" in published.refused.reason
