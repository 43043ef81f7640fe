"""The exchange and the queues of work hints in RabbitMQ, declared by both sides on each connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import amqp

from messaging.rabbitmq.address import Address

logger: Final = logging.getLogger(__name__)

HINT_TTL_MS: Final = 60_000
"""Older hints are not needed: polling has found their work."""
QUEUE_MAX: Final = 10_000
"""Hints of a queue. More push out the oldest ones."""
QUEUE_BYTES_MAX: Final = 1_048_576
"""Bytes of the hints of a queue: some thousand of them. It bounds what foreign messages may take."""
DELIVERIES_MAX: Final = 5
"""Deliveries of a hint whose consumers die before they acknowledge it."""
DELETED_S: Final = 2.0
"""The wait before a queue that was deleted is declared anew.

When a deleted quorum queue exists again within some milliseconds, RabbitMQ sends its consumers neither a notice nor
deliveries (seen with 3.10). So all processes wait for longer than that.
"""
REFUSED_S: Final = 30.0
"""The wait before a queue is used again that the broker refuses, or that does not answer.

A quorum queue without a majority of its replicas does not answer, while the queues of other gateways may answer.
"""

_ARGUMENTS: Final = {
    "x-queue-type": "quorum",
    "x-message-ttl": HINT_TTL_MS,
    "x-delivery-limit": DELIVERIES_MAX,
    "x-max-length": QUEUE_MAX,
    "x-max-length-bytes": QUEUE_BYTES_MAX,
    "x-overflow": "drop-head",
}


class Names(NamedTuple):
    """The names of exchange and queues."""

    exchange: str = "payments.work"
    queue_prefix: str = "payments.work."

    def queue(self, gateway: str) -> str:
        """The queue of a gateway."""
        return self.queue_prefix + gateway


class Topology:
    """Declares queues after each connect. What the broker refuses is logged, and what exists is used as it is."""

    def __init__(self, names: Names, address: Address) -> None:
        self.names: Final = names
        self._address = address
        self._problems: dict[str, str] = {}
        """By gateway: what was logged last."""

    def declare(self, channel: amqp.Channel, gateway: str) -> str:
        """Declare exchange, queue and binding of ``gateway``. Returns what the broker refuses, and why; may be empty.

        A refusal closes and opens the channel, so it must have neither consumers nor confirms.
        """
        exchange, queue = self.names.exchange, self.names.queue(gateway)
        steps = (
            lambda: channel.exchange_declare(exchange, "direct", durable=True, auto_delete=False),
            lambda: channel.queue_declare(queue, durable=True, auto_delete=False, arguments=_ARGUMENTS),
            lambda: channel.queue_bind(queue, exchange, gateway),
        )
        return "; ".join(refusal for step in steps if (refusal := refusal_of(step)))

    def note(self, gateway: str, problem: str) -> None:
        """Log a problem with the queue of ``gateway``, unless it is the last one. An empty text: there is none."""
        if problem and self._problems.get(gateway) != problem:
            logger.warning(
                "problem with a queue of work hints; polling finds the work meanwhile: %s",
                self._address.problem(problem),
                extra={"fields": {"gateway": gateway, "queue": self.names.queue(gateway)}},
            )
        self._problems[gateway] = problem


def refusal_of(step: Callable[[], object]) -> str:
    """Take a step on a channel. Returns why the broker refuses it; empty when it does not."""
    try:
        step()
    except amqp.ChannelError as error:
        return str(error)
    return ""
