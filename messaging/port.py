"""The ports of messaging: the queue that hands due work to whichever process claims it, and the publisher of events.

A hint is no claim. The work table of the store is authoritative: a hint that is lost costs a short delay, because every
processor also looks for due work by itself. A hint that is repeated costs a claim that finds nothing.

The event log of the store is authoritative for events, too: a publisher keeps nothing, and whatever the broker did not
confirm is published again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from messaging.message import Message

__all__ = [
    "BrokerUnavailableError",
    "HintHandler",
    "Message",
    "Published",
    "Publisher",
    "Refused",
    "WorkHint",
    "WorkQueue",
]


class WorkHint(NamedTuple):
    """Work of ``gateway`` is queued and due now. ``transaction_id`` is None for work without a transaction."""

    work_id: str
    transaction_id: str | None
    gateway: str


HintHandler = Callable[[WorkHint], None]
"""Receives one hint and tries to claim its work. Must return soon; an error it raises is logged by the adapter."""


class WorkQueue(Protocol):
    """Delivers each hint to at most one subscriber of its gateway, in this process or another. For many threads.

    Delivery is best effort: hints may be lost, repeated or reordered. Work that is due later is not announced; the
    process that recorded it sets a timer.
    """

    def announce(self, hint: WorkHint, /) -> None:
        """Publish ``hint`` after the commit that queues its work. Neither blocks nor raises an Exception."""

    def subscribe(self, gateways: Collection[str], handler: HintHandler, /) -> None:
        """Deliver hints of ``gateways`` to ``handler``, in place of an earlier handler of this queue for them."""

    def close(self) -> None:
        """End all deliveries and connections. Later announcements are lost. Repeating the call changes nothing."""


class Refused(NamedTuple):
    """The broker refused the message at this position. Nothing after it with its partition key is published."""

    position: int
    reason: str


class Published(NamedTuple):
    """The result of one batch."""

    confirmed: int
    """The broker has confirmed this many messages, counted from the beginning of the batch."""
    refused: Refused | None = None
    """The message that follows the confirmed ones, if the broker refused it."""


class BrokerUnavailableError(Exception):
    """The broker does not answer. Nothing is known of the batch: it is published again."""


class Publisher(Protocol):
    """Publishes messages to one broker. For one thread at a time."""

    def publish(self, batch: Sequence[Message]) -> Published:
        """Publish ``batch``, and return when the broker has confirmed all of it or refused a message.

        No message is published before the broker has confirmed those with the same partition key that precede it in the
        batch. An empty batch only keeps the connection alive. Raises BrokerUnavailableError; the next call connects
        again.
        """

    def close(self) -> None:
        """Close the connection; closing twice does no harm. A later batch opens another one."""
