"""One network of processes for each adapter of the queue port, and the stores that a relay reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import pytest

from messaging.local import LocalQueue
from messaging.port import WorkQueue
from tests.messaging.memory_network import MemoryNetwork
from tests.messaging.rabbitmq_network import RabbitmqNetwork

# The stores, for the relay.
from tests.store.conftest import fixture, migrated_schema, pass_time, schema, shared_store, store  # noqa: F401


class Network(Protocol):
    """Processes that share one broker, or one process where an adapter has no broker."""

    def queue(self) -> WorkQueue:
        """The queue of one more process, or of the only one."""

    def settle(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, or until everything announced so far was delivered."""

    def close(self) -> None:
        """Close every queue."""


class BrokerNetwork(Network, Protocol):
    """Processes that share a broker, which may be away."""

    def go_away(self) -> None:
        """Cut all connections to the broker and refuse new ones."""

    def come_back(self) -> None:
        """Accept connections again."""

    def cut(self) -> None:
        """Cut all connections once, as at the death of their processes."""


class LocalNetwork:
    """One process: every queue is the same, and delivers at once."""

    def __init__(self) -> None:
        self._queue = LocalQueue()

    def queue(self) -> WorkQueue:
        """See Network."""
        return self._queue

    def settle(self, condition: Callable[[], bool]) -> None:
        """See Network: everything was delivered by the announcement."""

    def close(self) -> None:
        """See Network."""
        self._queue.close()


BROKER_NETWORKS: Final[dict[str, Callable[[], BrokerNetwork]]] = {"rabbitmq": RabbitmqNetwork}
"""A new adapter of a broker adds one line here."""
NETWORKS: Final[dict[str, Callable[[], Network]]] = {"local": LocalNetwork, "memory": MemoryNetwork, **BROKER_NETWORKS}


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A network of each adapter."""
    network = NETWORKS[request.param]()
    yield network
    network.close()


@pytest.fixture(params=sorted(BROKER_NETWORKS))
def broker_network(request: pytest.FixtureRequest) -> Iterator[BrokerNetwork]:
    """A network of each adapter of a broker."""
    network = BROKER_NETWORKS[request.param]()
    yield network
    network.close()


@pytest.fixture
def mq() -> Iterator[RabbitmqNetwork]:
    """A network over RabbitMQ, for what only this adapter has."""
    network = RabbitmqNetwork()
    yield network
    network.close()
