"""Processes that share work hints over a broker of Kafka's protocol, which each network has for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from messaging.kafka.queue import TOPIC, KafkaQueue
from messaging.port import HintHandler, WorkHint
from tests.messaging.cutting_proxy import CuttingProxy
from tests.messaging.kafka_server import KafkaServer, binary, create_topic
from tests.processes.process import PATIENCE_S, wait_until

_POLL_S: Final = 0.005
_PROBE: Final = WorkHint("probe", None, "probe")


class KafkaNetwork:
    """Implements ``tests.messaging.conftest.BrokerNetwork``. All queues reach the broker through ``proxy``."""

    redelivers_after_a_cut: Final = False
    """A consumer that lost its connection keeps its partitions. What it has not handled goes to others at its death."""

    def __init__(self) -> None:
        binary()
        self.proxy: Final = CuttingProxy(("127.0.0.1", 0))
        self.server: Final = KafkaServer(self.proxy.port)
        self.proxy.server = ("127.0.0.1", self.server.port)
        self._queues: list[KafkaQueue] = []

    @property
    def url(self) -> str:
        """The URL of the broker through the proxy."""
        return f"kafka://127.0.0.1:{self.proxy.port}"

    def queue(self) -> KafkaQueue:
        """See Network."""
        self._queues.append(KafkaQueue(self.url))
        return self._queues[-1]

    def settle(self, condition: Callable[[], bool]) -> None:
        """See Network. Nothing is delivered once all queues are closed."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < deadline:
            if all(queue._announcing._closed for queue in self._queues):
                return
            time.sleep(_POLL_S)

    def go_away(self) -> None:
        """See BrokerNetwork."""
        self.proxy.go_away()

    def come_back(self) -> None:
        """See BrokerNetwork."""
        self.proxy.come_back()

    def cut(self) -> None:
        """See BrokerNetwork."""
        self.proxy.cut()

    def close(self) -> None:
        """See Network."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(KafkaQueue.close, self._queues))
        self.proxy.close()
        self.server.close()


class OneKafkaProcess(KafkaNetwork):
    """A network of one process: of a group, only processes that serve the same gateways get all hints.

    A consumer gets what is announced after it has joined its group, so subscribing waits until hints arrive.
    """

    def __init__(self) -> None:
        super().__init__()
        create_topic(self.server.servers, TOPIC, partitions=1)
        self._queue = JoinedQueue(self.url)
        self._queues.append(self._queue)

    def queue(self) -> KafkaQueue:
        """See Network."""
        return self._queue


class JoinedQueue(KafkaQueue):
    """A queue whose first subscription returns when hints arrive."""

    _is_joined = False

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """See WorkQueue."""
        super().subscribe(gateways, handler)
        if not self._is_joined:
            self._is_joined = True
            arrived = threading.Event()
            super().subscribe([_PROBE.gateway], lambda _: arrived.set())

            def arrives() -> bool:
                self.announce(_PROBE)
                return arrived.is_set()

            wait_until(arrives, "the consumer is in its group")
