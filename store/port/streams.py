"""Streams and their events, as the store keeps them."""

from __future__ import annotations

from typing import Final, NamedTuple


class StreamKey(NamedTuple):
    """The stream of one customer: ``name`` is the merchant of the customer, ``id`` the customer's id."""

    name: str
    id: str


GENESIS: Final = bytes(32)
"""The hash that the first event of a stream continues."""

GATEWAYS: Final = "gateways"
"""The name of the streams that belong to a gateway instead of a customer; their ids are the gateways' names."""

DEFAULT_MERCHANT: Final = "main"
"""The merchant of all clients while no API keys are required. It also sees the streams of the gateways."""


def names_seen_by(merchant: str) -> tuple[str, ...]:
    """Return the names of the streams in which operators of ``merchant`` see work and reviews."""
    return (merchant, GATEWAYS) if merchant == DEFAULT_MERCHANT else (merchant,)


class Head(NamedTuple):
    """The end of a stream: its last version (0 when empty) and the hash of that event."""

    version: int = 0
    hash: bytes = GENESIS


class EncodedEvent(NamedTuple):
    """An event as it is stored: ``body`` holds the canonical bytes, ``hash`` covers them and the previous hash."""

    event_id: str
    version: int
    type: str
    body: bytes
    hash: bytes


class StoredEvent(NamedTuple):
    """An encoded event with its stream and its position in the global order."""

    position: int
    stream: StreamKey
    event_id: str
    version: int
    type: str
    body: bytes
    hash: bytes
