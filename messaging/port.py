"""The queue port: hands due work to whichever process claims it.

A hint is no claim. The work table of the store is authoritative: a hint that is lost costs a short delay, because every
processor also looks for due work by itself. A hint that is repeated costs a claim that finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from messaging.message import Message

__all__ = ["HintHandler", "Message", "WorkHint", "WorkQueue"]


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
