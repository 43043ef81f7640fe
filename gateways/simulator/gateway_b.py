"""gatewayB as its provider speaks: XML, no idempotency keys, callbacks signed in headers of its own."""

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
from gateways.simulator.dialect import App, Dialect
from gateways.simulator.faces import Faces, read_body
from gateways.simulator.provider import Asked, Provider, Record
from gateways.simulator.rows import Truth
from gateways.strict_xml import MalformedError, parse_elements

NAME: Final = "gatewayB"

_CURRENCIES: Final = frozenset({"USD", "EUR"})
_XML: Final = "application/xml"
_PATHS: Final = {"deposit": Kind.DEPOSIT, "withdraw": Kind.WITHDRAWAL}
_CODES: Final = {"do_not_honor": "05", "expired_card": "54", "insufficient_funds": "51", "issuer_unavailable": "91"}


def mount(app: App, provider: Provider, faces: Faces) -> None:
    """Add the provider's routes to ``app``."""
    for path, kind in _PATHS.items():
        app.add_route(f"/{NAME}/{path}", _Orders(kind, provider, faces))
    app.add_route(f"/{NAME}/status", _Status(provider, faces))


def key_of(secret: str) -> bytes:
    """The key that the text of ``secret`` stands for: its very bytes."""
    return secret.encode("utf-8")


def callback(record: Record, key: bytes) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of the callback that tells what became of ``record``, signed with ``key``."""
    status = "completed" if record.truth is Truth.SUCCESS else "failed"
    money, reference = record.asked.money, record.asked.reference
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
    """``/deposit`` or ``/withdraw``."""

    def __init__(self, kind: Kind, provider: Provider, faces: Faces) -> None:
        self._kind, self._provider, self._faces = kind, provider, faces

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Move money, or not; again for each request."""
        call = self._faces.meet(NAME, req, resp)
        if call is None:
            return
        asked = self._asked(req)
        if isinstance(asked, str):
            call.say(400, _XML, _document("error", {"reason": asked}))
            return
        face, record = self._provider.submit(asked)
        call.show(face, _XML, b"" if record is None else _answer(record))

    def _asked(self, req: falcon.Request) -> Asked | str:
        """What the request asks for, or what is wrong with it."""
        try:
            said = parse_elements(read_body(req), "request")
        except MalformedError:
            return "not_xml"
        reference, currency = said.get("reference"), said.get("currency")
        if not reference or currency not in _CURRENCIES or not said.get("customer"):
            return "invalid"
        try:
            return Asked(self._kind, reference, parse_amount(said.get("amount", ""), currency), None)
        except MoneyError:
            return "invalid_amount"


class _Status:
    """``/status?reference=…``."""

    def __init__(self, provider: Provider, faces: Faces) -> None:
        self._provider, self._faces = provider, faces

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """What became of the reference, whichever of the two it was used for."""
        call = self._faces.meet(NAME, req, resp)
        if call is None:
            return
        reference = req.get_param("reference") or ""
        found = (self._provider.lookup(reference, kind) for kind in Kind)
        record = next((each for each in found if each is not None), None)
        if record is None:
            call.say(200, _XML, _document("response", {"transaction_id": "", "status": "not_found", "code": ""}))
        else:
            call.say(200, _XML, _answer(record))


def _answer(record: Record) -> bytes:
    code = _CODES[record.code or "do_not_honor"] if record.truth is Truth.DECLINED else ""
    return _document("response", {"transaction_id": record.id, "status": record.truth.value, "code": code})


def _document(root: str, elements: Mapping[str, str]) -> bytes:
    inner = "".join(f"<{name}>{escape(text)}</{name}>" if text else f"<{name}/>" for name, text in elements.items())
    return f"<{root}>{inner}</{root}>".encode("ascii", "xmlcharrefreplace")


DIALECT: Final = Dialect(NAME, "B", SIMULATOR_SECRETS[NAME], mount, key_of, callback)
