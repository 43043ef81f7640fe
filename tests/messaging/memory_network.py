"""A broker of work hints and events in memory, as the module of an adapter: for tests of whole processes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection

from messaging.port import HintHandler, WorkHint
from tests.messaging.memory import MemoryBroker, MemoryPublisher

logger = logging.getLogger(__name__)


class MemoryNetwork:
    """Processes that share a broker. Each hint goes to one subscriber of its gateway, in turn, at once."""

    def __init__(self) -> None:
        self.queues: list[MemoryQueue] = []
        self._turns = itertools.count()

    def queue(self) -> MemoryQueue:
        """See ``tests.messaging.conftest.Network``."""
        self.queues.append(MemoryQueue(self))
        return self.queues[-1]

    def settle(self, condition: Callable[[], bool]) -> None:
        """See Network: everything was delivered by the announcement."""

    def close(self) -> None:
        """See Network."""
        for queue in self.queues:
            queue.close()

    def deliver(self, hint: WorkHint) -> None:
        """Give a hint to one of its subscribers, if there is one."""
        handlers = [queue.handlers[hint.gateway] for queue in self.queues if hint.gateway in queue.handlers]
        if not handlers:
            return
        try:
            handlers[next(self._turns) % len(handlers)](hint)
        except Exception:
            logger.exception("a work hint was not handled", extra={"fields": {"work_id": hint.work_id}})


class MemoryQueue:
    """The queue of one process."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self.handlers: dict[str, HintHandler] = {}
        self.announced: list[WorkHint] = []
        self.closed = False

    def announce(self, hint: WorkHint, /) -> None:
        """See WorkQueue."""
        if not self.closed:
            self.announced.append(hint)
            self._network.deliver(hint)

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """See WorkQueue."""
        if not self.closed:
            self.handlers = {**self.handlers, **dict.fromkeys(gateways, handler)}

    def close(self) -> None:
        """See WorkQueue."""
        self.closed, self.handlers = True, {}


class MemoryModule:
    """Implements ``messaging.brokers.BrokerModule``. Keeps what it made."""

    def __init__(self) -> None:
        self.broker, self.network = MemoryBroker(), MemoryNetwork()
        self.publishers: list[MemoryPublisher] = []

    def publisher(self, url: str, *, structured: bool) -> MemoryPublisher:
        """See BrokerModule."""
        assert not structured
        if "@" not in url:
            raise ValueError("must name a user")
        self.publishers.append(MemoryPublisher(self.broker))
        return self.publishers[-1]

    def work_queue(self, url: str) -> MemoryQueue:
        """See BrokerModule."""
        assert url
        return self.network.queue()
