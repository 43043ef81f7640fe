"""The door to the actors for everything that is not one: commands go in as values, answers come out as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actors.replies import GatewayStatus, Reply
from domain.commands import Receive
from store.codec import Metadata
from store.port import StreamKey


class Payments(Protocol):
    """What the API may ask of the actors. Every method may block, up to the configured request deadline."""

    def new_transaction_id(self) -> str:
        """A new UUIDv7."""

    def receive(self, stream: StreamKey, command: Receive, metadata: Metadata) -> Reply:
        """Take on a deposit or withdrawal; returns when it is durable, refused or given up."""

    def gateways(self) -> Sequence[GatewayStatus]:
        """All configured gateways, names ascending. Raises TimeoutError when their supervisor does not answer."""

    def gateway_currencies(self) -> dict[str, frozenset[str]]:
        """The configured gateways and the currencies that each takes; never blocks."""

    def problems(self) -> Sequence[str]:
        """Why the service is not ready, for people; empty when it is. Never blocks."""
