"""gatewayB's provider: XML, no idempotency keys, callbacks signed in headers of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

import falcon

from domain.events import Kind
from domain.money import MoneyError, parse_amount
from gateways.development import SIMULATOR_SECRETS
from gateways.simulator.behaviours import BehaviourGate, read_body
from gateways.simulator.dialect import REPORTED, App, Dialect
from gateways.simulator.originals import CHILDREN
from gateways.simulator.provider import Provider
from gateways.simulator.records import PaymentRequest, Record
from gateways.simulator.rows import TrueStatus
from gateways.strict_xml import MalformedError, parse_elements

NAME: Final = "gatewayB"

_CURRENCIES: Final = frozenset({"USD", "EUR"})
_XML: Final = "application/xml"
_PATHS: Final = {
    "deposit": Kind.DEPOSIT,
    "withdraw": Kind.WITHDRAWAL,
    "refund": Kind.REFUND,
    "capture": Kind.CAPTURE,
    "void": Kind.VOID,
}
_CODES: Final = {
    "do_not_honor": "05",
    "expired_card": "54",
    "insufficient_funds": "51",
    "issuer_unavailable": "91",
    "amount_too_large": "13",
    "duplicate_transaction": "94",
    "original_not_found": "25",
    "authorization_cancelled": "A2",
}


def mount(app: App, provider: Provider, gate: BehaviourGate) -> None:
    """Add the provider's routes to ``app``."""
    for path, kind in _PATHS.items():
        app.add_route(f"/{NAME}/{path}", _Orders(kind, provider, gate))
    app.add_route(f"/{NAME}/status", _Status(provider, gate))


def key_of(secret: str) -> bytes:
    """The key is the UTF-8 text of ``secret`` itself."""
    return secret.encode("utf-8")


def callback(record: Record, key: bytes) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of the callback that reports ``record``, signed with ``key``."""
    status = REPORTED[record.status]
    money, reference = record.request.money, record.request.reference
    metadata = {"reference": reference, "amount": money.text, "currency": money.currency}
    body = json.dumps({"transaction_id": record.id, "status": status, "metadata": metadata}).encode("ascii")
    # The same reference may have several effects, each with a callback of its own.
    return _signed(key, f"evt_{reference}_{record.id}_{status}", int(time.time()), body), body


def _signed(key: bytes, event_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    signature = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Gateway-Event-Id": event_id,
        "X-Gateway-Timestamp": str(timestamp),
        "X-Gateway-Signature": f"sha256={signature}",
    }


class _Orders:
    """``/deposit``, ``/withdraw``, ``/refund``, ``/capture`` or ``/void``."""

    def __init__(self, kind: Kind, provider: Provider, gate: BehaviourGate) -> None:
        self._kind, self._provider, self._gate = kind, provider, gate

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Process a payment request; a repeated request is another payment."""
        call = self._gate.admit(NAME, req, resp)
        if call is None:
            return
        request = self._payment_request(req)
        if isinstance(request, str):
            call.respond(400, _XML, _document("error", {"reason": request}))
            return
        behaviour, record = self._provider.submit(request)
        call.respond_as(behaviour, _XML, b"" if record is None else _answer(record, held="success"))

    def _payment_request(self, req: falcon.Request) -> PaymentRequest | str:
        """Parse the request; an error code when it is invalid."""
        try:
            elements = parse_elements(read_body(req), "request")
        except MalformedError:
            return "not_xml"
        reference, currency = elements.get("reference"), elements.get("currency")
        if not reference or currency not in _CURRENCIES or not elements.get("customer"):
            return "invalid"
        capture, original = elements.get("capture", "true"), elements.get("original")
        if capture not in {"true", "false"} or (capture == "false" and self._kind is not Kind.DEPOSIT):
            return "invalid"
        if bool(original) is not (self._kind in CHILDREN):
            return "invalid"
        try:
            money = parse_amount(elements.get("amount", ""), currency)
            return PaymentRequest(self._kind, reference, money, None, capture == "false", original or None)
        except MoneyError:
            return "invalid_amount"


class _Status:
    """``/status?reference=…``."""

    def __init__(self, provider: Provider, gate: BehaviourGate) -> None:
        self._provider, self._gate = provider, gate

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Return the state of the reference, of whatever kind it is."""
        call = self._gate.admit(NAME, req, resp)
        if call is None:
            return
        reference = req.get_param("reference") or ""
        found = (self._provider.lookup(reference, kind) for kind in Kind)
        record = next((each for each in found if each is not None), None)
        if record is None:
            call.respond(200, _XML, _document("response", {"transaction_id": "", "status": "not_found", "code": ""}))
        else:
            call.respond(200, _XML, _answer(record))


def _answer(record: Record, held: str = TrueStatus.AUTHORIZED.value) -> bytes:
    """``held``: the word for money that is held."""
    status = held if record.status is TrueStatus.AUTHORIZED else record.status.value
    code = _CODES[record.code or "do_not_honor"] if record.status is TrueStatus.DECLINED else ""
    return _document("response", {"transaction_id": record.id, "status": status, "code": code})


def _document(root: str, elements: Mapping[str, str]) -> bytes:
    inner = "".join(f"<{name}>{escape(text)}</{name}>" if text else f"<{name}/>" for name, text in elements.items())
    return f"<{root}>{inner}</{root}>".encode("ascii", "xmlcharrefreplace")


DIALECT: Final = Dialect(NAME, "B", SIMULATOR_SECRETS[NAME], mount, key_of, callback)
