"""The command interface that the API uses. Commands go in as values, replies come out as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from actors.customer.command_operation import CommandOperation
from actors.replies import GatewayStatus, Reply, SignatureInvalid
from domain.events import Kind
from gateways.port import Acceptance
from store.codec import Metadata
from store.port import DeadLetterFilter, GatewayMode, StreamKey


class Payments(Protocol):
    """What the API needs of the actors. Every method may block, up to the configured request deadline."""

    def new_transaction_id(self) -> str:
        """A new UUIDv7; never blocks."""

    def execute(self, stream: StreamKey, command: CommandOperation) -> Reply:
        """Carry out a command on the stream of its customer; its deadline begins now.

        Returns when its events are durable, it is refused, or the deadline has passed. With an idempotency key it is
        carried out at most once, however often it is sent. Before the service is open nothing is stored.
        """

    def callback(
        self, gateway: str, headers: Mapping[str, str], body: bytes, metadata: Metadata
    ) -> Reply | SignatureInvalid:
        """Verify, store and apply a callback of a configured gateway; ``headers`` by names in lower case.

        Each of its notices is applied on its own. ``Taken``: all of them are stored.
        """

    def callback_acceptance(self, gateway: str) -> Acceptance:
        """The answer that a configured gateway expects to a callback that is stored; never blocks."""

    def set_breaker_mode(self, mode: GatewayMode) -> GatewayStatus:
        """Force a configured gateway's breaker open or closed, or return it to automatic; the mode survives restarts.

        Raises StoreError (nothing has changed), and TimeoutError when it is not known whether it has.
        """

    def retry_dead_letters(self, merchant: str, where: DeadLetterFilter) -> int:
        """Queue the merchant's dead letters that match ``where`` again, and return their number. Raises as above."""

    def gateways(self) -> Sequence[GatewayStatus]:
        """All configured gateways, names ascending.

        Raises StoreError before the service is open, and TimeoutError when the supervisor does not answer.
        """

    def gateway_currencies(self) -> Mapping[str, frozenset[str]]:
        """The configured gateways and the currencies that each takes; never blocks."""

    def supports(self, gateway: str, kind: Kind, *, manual_capture: bool = False) -> bool:
        """Whether a configured gateway can carry out transactions of ``kind``; never blocks.

        ``manual_capture``: deposits whose money is held until it is captured.
        """

    def is_stopping(self) -> bool:
        """Whether this process is shutting down; never blocks."""

    def problems(self) -> Sequence[str]:
        """Why the service is not ready, in words; empty when it is. Never blocks."""
