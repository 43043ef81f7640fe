"""Events as JSON objects for readers outside the service: the API and the brokers show the same members."""

from __future__ import annotations

from typing import Final

from store.codec import Body, timestamp
from store.event_types import FeedEvent
from store.port import StoredEvent

POSITIONS_APART: Final = 1 << 40
"""The amount by which each generation raises positions on the wire, above all positions of the generation before."""


def position_on_wire(generation: int, position: int) -> int:
    """Generation and position as one number: ascending over generations, and exact in JSON below 2**53."""
    return generation * POSITIONS_APART + position


def feed_event(stored: StoredEvent, body: Body, generation: int) -> FeedEvent:
    """An event with its position among all events; ``body`` is that of ``stored``, read.

    The event may be of a type that this version of the service does not know.
    """
    return {
        "position": position_on_wire(generation, stored.position),
        "generation": generation,
        "stream_name": stored.stream.name,
        "stream_id": stored.stream.id,
        "version": stored.version,
        "type": stored.type,
        "occurred_at": timestamp(body.occurred_at),
        "data": body.data,
        "metadata": body.metadata,
        "hash": stored.hash.hex(),
    }
