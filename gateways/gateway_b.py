"""gatewayB: XML over HTTP, without idempotency keys: the same reference sent twice has two effects.

It maps the provider's responses to the outcomes of ``domain.outcomes``. Anything ambiguous is an unknown outcome.
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
    AUTHORIZATION_CANCELLED,
    AUTHORIZATION_EXPIRED,
    Approved,
    Authorization,
    Category,
    Declined,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
)
from gateways.authorizations import ended
from gateways.http import HttpClient, Response
from gateways.port import Acceptance, Gateway, Notice, OperationFacts, Order, UnusablePayload, WebhookPayload
from gateways.settings import GatewaySettings, OptionValue
from gateways.signatures import Scheme, Verifier
from gateways.strict_xml import MalformedError, parse_elements
from gateways.webhook_payload import Members, make_payload, read_payload

# --- facts ---

CURRENCIES: Final = frozenset({"USD", "EUR"})

OPTIONS: Final[Mapping[str, OptionValue]] = MappingProxyType({})

CODES: Final[Mapping[str, tuple[str, Category | None]]] = MappingProxyType(
    {
        "05": ("do_not_honor", Category.HARD),
        "54": ("expired_card", Category.HARD),
        "51": ("insufficient_funds", Category.SOFT),
        "91": ("issuer_unavailable", Category.SOFT),
        "13": ("amount_too_large", Category.HARD),
        "94": ("duplicate_transaction", Category.HARD),
        "25": ("original_not_found", Category.HARD),
        "A1": (AUTHORIZATION_EXPIRED, None),
        "A2": (AUTHORIZATION_CANCELLED, None),
    }
)
"""The provider's codes (ISO 8583, and its own A1 and A2) and the normalised codes."""

NOT_EXECUTED: Final[frozenset[int]] = frozenset()
"""Statuses that guarantee that the provider did nothing. It guarantees this for none."""

OPERATIONS: Final[Mapping[Kind, OperationFacts]] = MappingProxyType(dict.fromkeys(Kind, OperationFacts()))

REFERENCE_FORM: Final = re.compile(r"B-[0-9]{1,12}")  # too few digits for a card number

_PATHS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.DEPOSIT: "/deposit",
        Kind.WITHDRAWAL: "/withdraw",
        Kind.REFUND: "/refund",
        Kind.CAPTURE: "/capture",
        Kind.VOID: "/void",
    }
)
_NOT_FOUND: Final = "not_found"
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_CODE: Final = re.compile(r"[0-9A-Z]{2}")  # too short to contain anything confidential


def build(settings: GatewaySettings, callback_keys: Sequence[bytes]) -> Gateway:
    """Make the gateway from its ``settings``."""
    return GatewayB(settings, callback_keys)


def callback_key(secret: str) -> bytes:
    """The key is the UTF-8 text of ``secret`` itself. Raises ValueError when it has no UTF-8 form."""
    return secret.encode("utf-8")


# --- public verbs ---


class GatewayB:
    """The adapter; see ``gateways.port.Gateway`` for what each member means."""

    def __init__(self, settings: GatewaySettings, callback_keys: Sequence[bytes]) -> None:
        self.name = settings.name
        self.callbacks = GatewayBCallbacks(callback_keys) if callback_keys else None
        self.currencies = CURRENCIES
        self.operations = OPERATIONS
        self.holds = True
        self.reference_form = REFERENCE_FORM
        self._http = HttpClient(
            settings.name, settings.url, timeout_s=settings.timeout_s, max_concurrent=settings.max_concurrent
        )

    def submit(self, order: Order) -> Outcome:
        """Send the order. Each call is another payment. Raises NotSentError, OutcomeUnknownError."""
        response = self._send("POST", _PATHS[order.kind], _body(order))
        if response.status in NOT_EXECUTED:
            raise NotSentError(f"{self.name}: answered {response.status}, which guarantees that nothing was done")
        return self._outcome(order, self._elements(response))

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Look up ``order`` at the provider. Raises NotSentError, OutcomeUnknownError without a definite answer."""
        elements = self._elements(self._send("GET", f"/status?reference={quote(order.transaction_id, safe='')}"))
        if elements.get("status") == _NOT_FOUND and not elements.get("transaction_id"):
            return NotReceived()
        return self._outcome(order, elements)

    def close(self) -> None:
        """Close pooled connections; calls in progress may still finish."""
        self._http.close()

    # --- one send ---

    def _send(self, method: str, path: str, body: bytes = b"") -> Response:
        headers = {"Accept": "application/xml"}
        if body:
            headers["Content-Type"] = "application/xml"
        else:
            headers["Cache-Control"] = "no-store"  # a cached "not found" would lead to a second payment
        return self._http.request(method, path, headers, body)

    # --- parsing ---

    def _outcome(self, order: Order, elements: Mapping[str, str]) -> Outcome:
        """Parse the outcome. Raises OutcomeUnknownError."""
        reference, status = elements.get("transaction_id", ""), elements.get("status")
        if _REFERENCE.fullmatch(reference) is None:
            raise self._unknown("answered without a usable transaction_id")
        match status:
            case "success" | "authorized" if order.manual_capture:
                return Authorization(reference)
            case "success":
                return Approved(reference, final=True)
            case "pending":
                return Approved(reference, final=False)
            case "declined":
                return replace(_declined(elements.get("code", "")), reference=reference)
            case _:
                if order.manual_capture and (gone := ended(status, reference)) is not None:
                    return gone
                raise self._unknown("answered with a status that is not known")

    def _elements(self, response: Response) -> Mapping[str, str]:
        """The elements of the response, which must be a well-formed 200. Raises OutcomeUnknownError."""
        if response.status != 200:
            raise self._unknown(f"answered with status {response.status}")
        if response.media_type not in {"", "application/xml", "text/xml"}:
            raise self._unknown("answered with another content type than XML")
        if response.charset not in {"", "utf-8"}:
            raise self._unknown("answered in another encoding than UTF-8")
        try:
            return parse_elements(response.body, "response")
        except MalformedError as error:
            raise self._unknown(f"answered with a body that cannot be read: {error}") from None

    def _unknown(self, problem: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(f"{self.name}: {problem}")


# --- callbacks ---


class GatewayBCallbacks:
    """Callbacks in JSON, signed in the provider's own headers."""

    acceptance = Acceptance()

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._verifier = Verifier(_SCHEME, keys)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Notice]:
        """Verify and parse its one notice, with the ``X-Gateway-Event-Id`` as its id. Raises SignatureInvalidError.

        Unknown members are ignored.
        """
        event_id = self._verifier.verify(headers, body, now)
        return (Notice(event_id, body, read_payload(body, _payload)),)


def _payload(members: Members) -> WebhookPayload | UnusablePayload:
    metadata = members.get("metadata")
    about: Members = metadata if isinstance(metadata, dict) else {}
    payload = make_payload(
        reference=about.get("reference"),
        gateway_reference=members.get("transaction_id"),
        status=members.get("status"),
        amount=about.get("amount"),
        currency=about.get("currency"),
    )
    return payload if isinstance(metadata, dict) else UnusablePayload("it has no metadata", raw=payload.raw)


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
    if order.manual_capture:
        elements["capture"] = "false"
    if order.parent_reference is not None:
        elements["original"] = order.parent_reference
    if order.return_url is not None:
        elements["return_url"] = order.return_url
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
    return f"<request>{inner}</request>".encode("ascii", "xmlcharrefreplace")


# --- the code table ---


def _declined(code: str) -> Declined:
    """The decline of a code. A code outside the table is shown in the message if it has the form of one."""
    if not code:
        return Declined("declined", None, "Declined without a code.")
    if _CODE.fullmatch(code) is None:
        return Declined("declined", None, "Declined with a code that cannot be repeated here.")
    if code not in CODES:
        return Declined("declined", None, f"Declined with the provider's code {code}.")
    normalised, category = CODES[code]
    return Declined(normalised, category, f"Declined: {normalised.replace('_', ' ')}.")
