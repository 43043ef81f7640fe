"""gatewayB: XML over HTTP, without idempotency keys: the same reference sent twice has two effects.

It sorts what the provider says into the outcomes of ``domain.outcomes``; what was not said plainly is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from domain.events import Kind
from domain.outcomes import (
    Approved,
    Category,
    Declined,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
)
from gateways.http import Answer, HttpClient
from gateways.port import Gateway, Order, Unusable, WebhookPayload
from gateways.settings import GatewaySettings, OptionValue
from gateways.signatures import Scheme, Verifier
from gateways.strict_xml import MalformedError, parse_elements
from gateways.webhook_payload import Members, make_notice, read_notice

# --- facts ---

CURRENCIES: Final = frozenset({"USD", "EUR"})

OPTIONS: Final[Mapping[str, OptionValue]] = MappingProxyType({})

CODES: Final[Mapping[str, tuple[str, Category]]] = MappingProxyType(
    {
        "05": ("do_not_honor", Category.HARD),
        "54": ("expired_card", Category.HARD),
        "51": ("insufficient_funds", Category.SOFT),
        "91": ("issuer_unavailable", Category.SOFT),
    }
)
"""The provider's codes, of ISO 8583, and the normalised ones."""

NOT_EXECUTED: Final[frozenset[int]] = frozenset()
"""Statuses by which the provider promises that it did nothing: it promises so for none."""

_PATHS: Final[Mapping[Kind, str]] = MappingProxyType({Kind.DEPOSIT: "/deposit", Kind.WITHDRAWAL: "/withdraw"})
_NOT_FOUND: Final = "not_found"
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_CODE: Final = re.compile(r"[0-9A-Z]{2}")  # too short for anything that must not be repeated


def build(settings: GatewaySettings, callback_keys: Sequence[bytes]) -> Gateway:
    """Make the gateway that ``settings`` describe."""
    return GatewayB(settings, callback_keys)


def callback_key(secret: str) -> bytes:
    """The key that the text of ``secret`` stands for: its very bytes. Raises ValueError when it is no UTF-8."""
    return secret.encode("utf-8")


# --- what it does ---


class GatewayB:
    """The adapter; see ``gateways.port.Gateway`` for what each member means."""

    def __init__(self, settings: GatewaySettings, callback_keys: Sequence[bytes]) -> None:
        self.name = settings.name
        self.callbacks = GatewayBCallbacks(callback_keys) if callback_keys else None
        self.currencies = CURRENCIES
        self.honours_keys = False
        self.looks_up = True
        self.idempotency_window_s = 0.0
        self._http = HttpClient(
            settings.name, settings.url, timeout_s=settings.timeout_s, max_concurrent=settings.max_concurrent
        )

    def submit(self, order: Order) -> Outcome:
        """Ask for the money to be moved: once more with each call. Raises NotSentError, OutcomeUnknownError."""
        answer = self._send("POST", _PATHS[order.kind], _body(order))
        if answer.status in NOT_EXECUTED:
            raise NotSentError(f"{self.name}: answered {answer.status}, which promises that nothing was done")
        return self._outcome(self._said(answer))

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Ask what became of ``order``. Raises NotSentError, OutcomeUnknownError when that cannot be told now."""
        said = self._said(self._send("GET", f"/status?reference={quote(order.transaction_id, safe='')}"))
        if said.get("status") == _NOT_FOUND and not said.get("transaction_id"):
            return NotReceived()
        return self._outcome(said)

    def close(self) -> None:
        """Close pooled connections; calls under way may still finish."""
        self._http.close()

    # --- one send ---

    def _send(self, method: str, path: str, body: bytes = b"") -> Answer:
        headers = {"Accept": "application/xml"}
        if body:
            headers["Content-Type"] = "application/xml"
        else:
            headers["Cache-Control"] = "no-store"  # "not found" of a moment ago would be a second payment
        return self._http.request(method, path, headers, body)

    # --- parsing ---

    def _outcome(self, said: Mapping[str, str]) -> Outcome:
        """What a final-looking answer says. Raises OutcomeUnknownError."""
        if _REFERENCE.fullmatch(said.get("transaction_id", "")) is None:
            raise self._unknown("answered without a usable transaction_id")
        match said.get("status"):
            case "success":
                return Approved(said["transaction_id"], final=True)
            case "pending":
                return Approved(said["transaction_id"], final=False)
            case "declined":
                return replace(_declined(said.get("code", "")), reference=said["transaction_id"])
            case _:
                raise self._unknown("answered with a status that is not known")

    def _said(self, answer: Answer) -> Mapping[str, str]:
        """The elements of the answer. Only a well-formed 200 says anything; raises OutcomeUnknownError."""
        if answer.status != 200:
            raise self._unknown(f"answered with status {answer.status}")
        if answer.media_type not in {"", "application/xml", "text/xml"}:
            raise self._unknown("answered with another content type than XML")
        if answer.headers.get_content_charset("utf-8") != "utf-8":
            raise self._unknown("answered in another encoding than UTF-8")
        try:
            return parse_elements(answer.body, "response")
        except MalformedError as error:
            raise self._unknown(f"answered with a body that cannot be read: {error}") from None

    def _unknown(self, what: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(f"{self.name}: {what}")


# --- callbacks ---


class GatewayBCallbacks:
    """Callbacks signed in headers of its own, in JSON."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._verifier = Verifier(_SCHEME, keys)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The ``X-Gateway-Event-Id``. Raises UnverifiedError."""
        return self._verifier.verify(headers, body, now)

    def read(self, body: bytes) -> WebhookPayload | Unusable:
        """What ``body`` says; unknown members do not matter."""
        return read_notice(body, _notice)


def _notice(said: Members) -> WebhookPayload | Unusable:
    metadata = said.get("metadata")
    about: Members = metadata if isinstance(metadata, dict) else {}
    notice = make_notice(
        reference=about.get("reference"),
        gateway_reference=said.get("transaction_id"),
        status=said.get("status"),
        amount=about.get("amount"),
        currency=about.get("currency"),
    )
    return notice if isinstance(metadata, dict) else Unusable("it has no metadata", verbatim=notice.verbatim)


_SCHEME: Final = Scheme(
    id_header="x-gateway-event-id",
    timestamp_header="x-gateway-timestamp",
    signature_header="x-gateway-signature",
    offered=lambda header: (header,),
    written=lambda signature: f"sha256={signature.hex()}",
)


# --- building ---


def _body(order: Order) -> bytes:
    elements = {
        "reference": order.transaction_id,
        "amount": order.money.text,
        "currency": order.money.currency,
        "customer": order.customer_id,
    }
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
    return f"<request>{inner}</request>".encode("ascii", "xmlcharrefreplace")


# --- the code table ---


def _declined(code: str) -> Declined:
    """A decline by its code. One that is not in the table is shown to people when it looks like a code."""
    if not code:
        return Declined("declined", None, "Declined without a code.")
    if _CODE.fullmatch(code) is None:
        return Declined("declined", None, "Declined with a code that cannot be repeated here.")
    if code not in CODES:
        return Declined("declined", None, f"Declined with the provider's code {code}.")
    normalised, category = CODES[code]
    return Declined(normalised, category, f"Declined: {normalised.replace('_', ' ')}.")
