"""What the contract of the publisher needs of a broker; ``tests.messaging.brokers`` has the table of all brokers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from messaging.port import Publisher

FULL: Final = "full"
"""The merchant whose messages the broker refuses while it is full."""


class Delivery(NamedTuple):
    """A message as a consumer gets it."""

    event_id: str
    attributes: Mapping[str, str]
    data: bytes


class Broker(Protocol):
    """A broker with one consumer of everything."""

    def publisher(self) -> Publisher:
        """Make one more publisher."""

    def received(self) -> list[Delivery]:
        """Return everything that arrived since the last call, in order."""

    def fill(self) -> None:
        """Refuse messages of the merchant FULL from now on."""

    def empty(self) -> None:
        """Accept them again."""

    def go_away(self) -> None:
        """Answer nothing, and close all connections."""

    def come_back(self) -> None:
        """Answer again."""

    def lose_next_confirm(self) -> None:
        """Receive the next message and lose the connection before its confirm."""

    def close(self) -> None:
        """Clean up."""
