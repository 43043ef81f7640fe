"""gatewayA: JSON over HTTP, with idempotency keys.

It sorts what the provider says into the outcomes of ``domain.outcomes``; what was not said plainly is unknown.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

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
from domain.strict_json import MalformedError, parse_object
from gateways.http import Answer, HttpClient
from gateways.port import Gateway, Order, Unusable, WebhookPayload
from gateways.settings import DAY_S, GatewaySettings, OptionValue
from gateways.signatures import Scheme, Verifier
from gateways.webhook_payload import Members, make_notice, read_notice

# --- facts ---

CURRENCIES: Final = frozenset({"USD", "EUR", "GBP", "JPY", "KWD"})

OPTIONS: Final[Mapping[str, OptionValue]] = MappingProxyType({"idempotency_window_s": DAY_S})

CODES: Final[Mapping[str, Category]] = MappingProxyType(
    {
        "do_not_honor": Category.HARD,
        "expired_card": Category.HARD,
        "stolen_card": Category.HARD,
        "insufficient_funds": Category.SOFT,
        "issuer_unavailable": Category.SOFT,
    }
)
"""The provider's codes are the normalised ones themselves."""

NOT_EXECUTED: Final[frozenset[int]] = frozenset()
"""Statuses by which the provider promises that it did nothing: it promises so for none."""

_PATHS: Final[Mapping[Kind, str]] = MappingProxyType({Kind.DEPOSIT: "/deposits", Kind.WITHDRAWAL: "/withdrawals"})
_NOT_FOUND: Final = {"error": "not_found"}
_REFERENCE: Final = re.compile(r"[!-~]{1,128}")
_CODE: Final = re.compile(r"[a-z][a-z_]{0,63}")  # no digits: nothing that could be a card number


_SIGNATURE: Final = re.compile(r"[^,]*|[^,]+,[^,]+")
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (how one begins)


def build(settings: GatewaySettings, callback_keys: Sequence[bytes]) -> Gateway:
    """Make the gateway that ``settings`` describe."""
    return GatewayA(settings, callback_keys)


def callback_key(secret: str) -> bytes:
    """The key that the text ``whsec_<base64>`` stands for. Raises ValueError."""
    prefix, encoded = secret[: len(_SECRET_PREFIX)], secret[len(_SECRET_PREFIX) :]
    if prefix != _SECRET_PREFIX:
        raise ValueError("not whsec_<base64>")
    return base64.b64decode(encoded, validate=True)


# --- what it does ---


class GatewayA:
    """The adapter; see ``gateways.port.Gateway`` for what each member means."""

    def __init__(self, settings: GatewaySettings, callback_keys: Sequence[bytes]) -> None:
        self.name = settings.name
        self.callbacks = GatewayACallbacks(callback_keys) if callback_keys else None
        self.currencies = CURRENCIES
        self.honours_keys = True
        self.looks_up = True
        self.idempotency_window_s = settings.number("idempotency_window_s")
        self._http = HttpClient(
            settings.name, settings.url, timeout_s=settings.timeout_s, max_concurrent=settings.max_concurrent
        )

    def submit(self, order: Order) -> Outcome:
        """Ask for the money to be moved, under the transaction id as key. Raises NotSentError, OutcomeUnknownError."""
        answer = self._send("POST", _PATHS[order.kind], order, _body(order))
        if answer.status in NOT_EXECUTED:
            raise NotSentError(f"{self.name}: answered {answer.status}, which promises that nothing was done")
        return self._outcome(answer)

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Ask what became of ``order``. Raises NotSentError, OutcomeUnknownError when that cannot be told now."""
        answer = self._send("GET", f"{_PATHS[order.kind]}/{quote(order.transaction_id, safe='')}", order)
        if answer.status == 404 and self._json(answer) == _NOT_FOUND:
            return NotReceived()
        return self._outcome(answer)

    def close(self) -> None:
        """Close pooled connections; calls under way may still finish."""
        self._http.close()

    # --- one send ---

    def _send(self, method: str, path: str, order: Order, body: bytes = b"") -> Answer:
        headers = {"Accept": "application/json"}
        if body:
            headers["Content-Type"] = "application/json"
            headers["Idempotency-Key"] = order.transaction_id
        else:
            headers["Cache-Control"] = "no-store"
        return self._http.request(method, path, headers, body)

    # --- parsing ---

    def _outcome(self, answer: Answer) -> Outcome:
        """What a final-looking answer says. Only a well-formed 200 says anything; raises OutcomeUnknownError."""
        if answer.status != 200:
            raise self._unknown(f"answered with status {answer.status}")
        said = self._json(answer)
        reference, status, code = said.get("transaction_id"), said.get("status"), said.get("code")
        if not isinstance(reference, str) or _REFERENCE.fullmatch(reference) is None:
            raise self._unknown("answered without a usable transaction_id")
        if code is not None and not isinstance(code, str):
            raise self._unknown("answered with a code that is no text")
        match status:
            case "success":
                return Approved(reference, final=True)
            case "pending":
                return Approved(reference, final=False)
            case "declined":
                return replace(_declined(code), reference=reference)
            case _:
                raise self._unknown("answered with a status that is not known")

    def _json(self, answer: Answer) -> dict[str, object]:
        if answer.media_type not in {"", "application/json"}:
            raise self._unknown("answered with another content type than JSON")
        try:
            return parse_object(answer.body)
        except MalformedError as error:
            raise self._unknown(f"answered with a body that cannot be read: {error}") from None

    def _unknown(self, what: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(f"{self.name}: {what}")


# --- callbacks ---


class GatewayACallbacks:
    """Callbacks signed as in https://github.com/standard-webhooks/standard-webhooks, in JSON."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._verifier = Verifier(_SCHEME, keys)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The ``webhook-id``, which the body's ``event_id`` need not match. Raises UnverifiedError."""
        return self._verifier.verify(headers, body, now)

    def read(self, body: bytes) -> WebhookPayload | Unusable:
        """What ``body`` says; ``event_id``, ``extra_data`` and others do not matter."""
        return read_notice(body, _notice)


def _notice(said: Members) -> WebhookPayload | Unusable:
    return make_notice(
        reference=said.get("reference"),
        gateway_reference=said.get("transaction_id"),
        status=said.get("status"),
        amount=said.get("amount"),
        currency=said.get("currency"),
    )


def _signatures(header: str) -> Sequence[str]:
    """The versions and signatures of a header; those of other versions than v1 equal none that we write."""
    signatures = header.split(" ")
    # A stray comma joins two headers of one name, which the specification does not know.
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
    return json.dumps(
        {
            "reference": order.transaction_id,
            "amount": order.money.text,
            "currency": order.money.currency,
            "customer": order.customer_id,
            "details": dict(order.details),
        }
    ).encode("ascii")


# --- the code table ---


def _declined(code: str | None) -> Declined:
    """A decline by its code. One that is not in the table is kept when it looks like a code, without a category."""
    if code is None:
        return Declined("declined", None, "Declined without a code.")
    if _CODE.fullmatch(code) is None:
        return Declined("declined", None, "Declined with a code that cannot be repeated here.")
    return Declined(code, CODES.get(code), f"Declined: {code.replace('_', ' ')}.")
