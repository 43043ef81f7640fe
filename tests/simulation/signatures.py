"""Signatures of simulated providers: a secret in a header. Real signature schemes are not simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gateways.port import Acceptance, Notice, SignatureInvalidError, UnusablePayload, WebhookPayload
from gateways.webhook_payload import Members, make_payload, read_payload


class SharedSecret:
    """Implements gateways.port.Callbacks: a callback with the secret is genuine."""

    acceptance = Acceptance()

    def __init__(self, gateway: str) -> None:
        self._secret = secret_of(gateway)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Notice]:  # noqa: ARG002  # the port's names
        """See Callbacks."""
        if headers["secret"] != self._secret:
            raise SignatureInvalidError("another secret")
        return (Notice(headers["id"], body, read_payload(body, _payload)),)


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
