"""Signatures of simulated providers: a secret in a header. Real signature schemes are not simulated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gateways.port import SignatureInvalidError, UnusablePayload, WebhookPayload
from gateways.webhook_payload import Members, make_payload, read_payload


class SharedSecret:
    """Implements gateways.port.Callbacks: a callback with the secret is genuine."""

    def __init__(self, gateway: str) -> None:
        self._secret = secret_of(gateway)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:  # noqa: ARG002  # the port's names
        """See Callbacks."""
        if headers["secret"] != self._secret:
            raise SignatureInvalidError("another secret")
        return headers["id"]

    def read(self, body: bytes) -> WebhookPayload | UnusablePayload:
        """See Callbacks."""
        return read_payload(body, _payload)


def _payload(said: Members) -> WebhookPayload | UnusablePayload:
    return make_payload(
        reference=said.get("reference"),
        gateway_reference=said.get("id"),
        status=said.get("status"),
        amount=said.get("amount"),
        currency=said.get("currency"),
    )


def secret_of(gateway: str) -> str:
    """The secret that the provider of ``gateway`` shares with the service."""
    return f"secret of {gateway}"
