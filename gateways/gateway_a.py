"""gatewayA: JSON over HTTP, with idempotency keys.

It maps the provider's responses to the outcomes of ``domain.outcomes``. Anything ambiguous is an unknown outcome.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import orjson

from domain.events import Kind
from domain.outcomes import (
    Approved,
    Authorization,
    Category,
    Declined,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
)
from domain.strict_json import MalformedError, parse_object
from gateways.authorizations import ended
from gateways.http import HttpClient, Response
from gateways.port import Acceptance, Gateway, Notice, OperationFacts, Order, UnusablePayload, WebhookPayload
from gateways.settings import DAY_S, GatewaySettings, OptionValue
from gateways.signatures import Scheme, Verifier
from gateways.webhook_payload import Members, make_payload, read_payload

# --- facts ---

CURRENCIES: Final = frozenset({"USD", "EUR", "GBP", "JPY", "KWD"})

OPTIONS: Final[Mapping[str, OptionValue]] = MappingProxyType({"idempotency_window_s": DAY_S})

CODES: Final[Mapping[str, Category]] = MappingProxyType(
    {
        "do_not_honor": Category.HARD,
        "expired_card": Category.HARD,
        "stolen_card": Category.HARD,
        "amount_too_large": Category.HARD,
        "duplicate_transaction": Category.HARD,
        "original_not_found": Category.HARD,
        "insufficient_funds": Category.SOFT,
        "issuer_unavailable": Category.SOFT,
    }
)
"""The provider's codes are the normalised codes. Those of an authorization that ended have no category."""

NOT_EXECUTED: Final[frozenset[int]] = frozenset()
"""Statuses that guarantee that the provider did nothing. It guarantees this for none."""

REFERENCE_FORM: Final = re.compile(r"A-[0-9]{1,12}")  # too few digits for a card number

_PATHS: Final[Mapping[Kind, str]] = MappingProxyType({kind: f"/{kind}s" for kind in Kind})
_NOT_FOUND: Final = {"error": "not_found"}
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_CODE: Final = re.compile(r"[a-z][a-z_]{0,63}")  # no digits, so it cannot contain a card number
_SIGNATURE: Final = re.compile(r"[^,]*|[^,]+,[^,]+")
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (a prefix, not a secret)


def build(settings: GatewaySettings, callback_keys: Sequence[bytes]) -> Gateway:
    """Make the gateway from its ``settings``."""
    return GatewayA(settings, callback_keys)


def callback_key(secret: str) -> bytes:
    """Decode the key of the text ``whsec_<base64>``. Raises ValueError."""
    prefix, encoded = secret[: len(_SECRET_PREFIX)], secret[len(_SECRET_PREFIX) :]
    if prefix != _SECRET_PREFIX:
        raise ValueError("not whsec_<base64>")
    return base64.b64decode(encoded, validate=True)


# --- public verbs ---


class GatewayA:
    """The adapter; see ``gateways.port.Gateway`` for what each member means."""

    def __init__(self, settings: GatewaySettings, callback_keys: Sequence[bytes]) -> None:
        self.name = settings.name
        self.callbacks = GatewayACallbacks(callback_keys) if callback_keys else None
        self.currencies = CURRENCIES
        facts = OperationFacts(key_window_s=settings.positive("idempotency_window_s"))
        self.operations: Mapping[Kind, OperationFacts] = MappingProxyType(dict.fromkeys(Kind, facts))
        self.holds = True
        self.reference_form = REFERENCE_FORM
        self._http = HttpClient(
            settings.name, settings.url, timeout_s=settings.timeout_s, max_concurrent=settings.max_concurrent
        )

    def submit(self, order: Order) -> Outcome:
        """Send the order with the transaction id as its key. Raises NotSentError, OutcomeUnknownError."""
        response = self._send("POST", _PATHS[order.kind], order, _body(order))
        if response.status in NOT_EXECUTED:
            raise NotSentError(f"{self.name}: answered {response.status}, which guarantees that nothing was done")
        return self._outcome(order, response)

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Look up ``order`` at the provider. Raises NotSentError, OutcomeUnknownError without a definite answer."""
        response = self._send("GET", f"{_PATHS[order.kind]}/{quote(order.transaction_id, safe='')}", order)
        if response.status == 404 and self._json(response) == _NOT_FOUND:
            return NotReceived()
        return self._outcome(order, response)

    def close(self) -> None:
        """Close pooled connections; calls in progress may still finish."""
        self._http.close()

    # --- one send ---

    def _send(self, method: str, path: str, order: Order, body: bytes = b"") -> Response:
        headers = {"Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
            headers["Idempotency-Key"] = order.key
        else:
            headers["Cache-Control"] = "no-store"
        return self._http.request(method, path, headers, body)

    # --- parsing ---

    def _outcome(self, order: Order, response: Response) -> Outcome:
        """Parse the outcome. Only a well-formed 200 has one. Raises OutcomeUnknownError."""
        if response.status != 200:
            raise self._unknown(f"answered with status {response.status}")
        members = self._json(response)
        reference, status, code = members.get("transaction_id"), members.get("status"), members.get("code")
        if not isinstance(reference, str) or _REFERENCE.fullmatch(reference) is None:
            raise self._unknown("answered without a usable transaction_id")
        if code is not None and not isinstance(code, str):
            raise self._unknown("answered with a code that is not a string")
        match status:
            case "success" | "authorized" if order.manual_capture:
                return Authorization(reference)
            case "success":
                return Approved(reference, final=True)
            case "pending":
                return Approved(reference, final=False)
            case "declined":
                return replace(_declined(code), reference=reference)
            case _:
                if order.manual_capture and (gone := ended(status, reference)) is not None:
                    return gone
                raise self._unknown("answered with a status that is not known")

    def _json(self, response: Response) -> dict[str, object]:
        if response.media_type not in {"", "application/json"}:
            raise self._unknown("answered with another content type than JSON")
        try:
            return parse_object(response.body)
        except MalformedError as error:
            raise self._unknown(f"answered with a body that cannot be read: {error}") from None

    def _unknown(self, problem: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(f"{self.name}: {problem}")


# --- callbacks ---


class GatewayACallbacks:
    """Callbacks signed as in https://github.com/standard-webhooks/standard-webhooks, in JSON."""

    acceptance = Acceptance()

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._verifier = Verifier(_SCHEME, keys)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Notice]:
        """Verify and parse its one notice, with the ``webhook-id`` as its id. Raises SignatureInvalidError.

        Other members, such as ``extra_data`` and ``event_id``, which may differ from that id, are ignored.
        """
        event_id = self._verifier.verify(headers, body, now)
        return (Notice(event_id, body, read_payload(body, _payload)),)


def _payload(members: Members) -> WebhookPayload | UnusablePayload:
    return make_payload(
        reference=members.get("reference"),
        gateway_reference=members.get("transaction_id"),
        status=members.get("status"),
        amount=members.get("amount"),
        currency=members.get("currency"),
    )


def _signatures(header: str) -> Sequence[str]:
    """Split the header into its versioned signatures. Versions other than v1 never match."""
    signatures = header.split(" ")
    # Another comma means two joined headers of one name, which the specification does not allow.
    return signatures if all(_SIGNATURE.fullmatch(each) for each in signatures) else ()


_SCHEME: Final = Scheme(
    id_header="webhook-id",
    timestamp_header="webhook-timestamp",
    signature_header="webhook-signature",
    offered=_signatures,
    written=lambda signature: f"v1,{base64.b64encode(signature).decode('ascii')}",
)


# --- building ---


def _body(order: Order) -> bytes:
    members: dict[str, object] = {
        "reference": order.transaction_id,
        "amount": order.money.text,
        "currency": order.money.currency,
        "customer": order.customer_id,
        "details": dict(order.details),
    }
    if order.manual_capture:
        members["capture"] = False
    if order.parent_reference is not None:
        members["original"] = order.parent_reference
    if order.return_url is not None:
        members["return_url"] = order.return_url
    return orjson.dumps(members)


# --- the code table ---


def _declined(code: str | None) -> Declined:
    """The decline of a code. A code outside the table is kept if it has the form of one, without a category."""
    if code is None:
        return Declined("declined", None, "Declined without a code.")
    if _CODE.fullmatch(code) is None:
        return Declined("declined", None, "Declined with a code that cannot be repeated here.")
    return Declined(code, CODES.get(code), f"Declined: {code.replace('_', ' ')}.")
