"""The door to the actors for everything that is not one: commands go in as values, answers come out as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actors.once import Once
from actors.replies import GatewayStatus, Reply
from domain.commands import Discard, Receive
from store.codec import Metadata
from store.port import DeadLetterFilter, GatewayMode, StreamKey, WorkItem


class Payments(Protocol):
    """What the API may ask of the actors. Every method may block, up to the configured request deadline."""

    def new_transaction_id(self) -> str:
        """A new UUIDv7."""

    def receive(self, stream: StreamKey, command: Receive, metadata: Metadata, once: Once | None = None) -> Reply:
        """Take on a deposit or withdrawal; returns when it is durable, refused or given up.

        With ``once`` it is carried out at most once, however often it comes.
        """

    def gateways(self) -> Sequence[GatewayStatus]:
        """All configured gateways, names ascending. Raises TimeoutError when their supervisor does not answer."""

    def gateway_currencies(self) -> dict[str, frozenset[str]]:
        """The configured gateways and the currencies that each takes; never blocks."""

    def set_breaker_mode(self, mode: GatewayMode) -> GatewayStatus:
        """Force a configured gateway's breaker open or closed, or leave it to itself again; holds over restarts.

        Raises StoreError (nothing has changed), and TimeoutError when it is not known whether it has.
        """

    def retry_dead_letters(self, merchant: str, where: DeadLetterFilter) -> int:
        """Have the merchant's dead letters that fit done again now; how many they are. Raises as above."""

    def discard(self, command: Discard, item: WorkItem, metadata: Metadata) -> Reply:
        """Fail the transaction of the dead letter ``item`` for good; Refused where that could falsify the record."""

    def problems(self) -> Sequence[str]:
        """Why the service is not ready, for people; empty when it is. Never blocks."""
