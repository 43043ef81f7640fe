"""The door to the actors for everything that is not one: commands go in as values, answers come out as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from actors.customer.idempotency import IdempotencyKey
from actors.replies import GatewayStatus, Reply, SignatureInvalid
from domain.commands import Adjust, CloseReview, Discard, Receive, Resolve
from store.codec import Metadata
from store.port import DeadLetterFilter, GatewayMode, Review, StreamKey, WorkItem
from store.queries import DeadLetter


class Payments(Protocol):
    """What the API may ask of the actors. Every method may block, up to the configured request deadline."""

    def new_transaction_id(self) -> str:
        """A new UUIDv7."""

    def receive(
        self, stream: StreamKey, command: Receive, metadata: Metadata, once: IdempotencyKey | None = None
    ) -> Reply:
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

    def resolve(self, stream: StreamKey, command: Resolve, work: DeadLetter | None, metadata: Metadata) -> Reply:
        """Settle a transaction on a person's word; ``work`` is its work as he saw it, if it has any.

        Refused when it was changed since he looked, has its end, or is on its way to its gateway.
        """

    def adjust(
        self, stream: StreamKey, command: Adjust, metadata: Metadata, once: IdempotencyKey | None = None
    ) -> Reply:
        """Correct a customer's balance on a person's word. Refused for nobody's balance, and below zero."""

    def close_review(self, stream: StreamKey, command: CloseReview, review: Review, metadata: Metadata) -> Reply:
        """Close ``review``, which was open when a person looked at it; once, however often it is told."""

    def callback(
        self, gateway: str, headers: Mapping[str, str], body: bytes, metadata: Metadata
    ) -> Reply | SignatureInvalid:
        """Store and apply what a configured gateway says of its own accord; ``headers`` by names in lower case."""

    def is_stopping(self) -> bool:
        """Whether this process was told to end; never blocks."""

    def problems(self) -> Sequence[str]:
        """Why the service is not ready, for people; empty when it is. Never blocks."""
