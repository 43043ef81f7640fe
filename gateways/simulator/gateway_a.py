"""gatewayA's provider: JSON, idempotency keys, callbacks signed as Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Final

import falcon

from domain.events import Kind
from domain.money import MoneyError, parse_amount
from domain.strict_json import MalformedError, parse_object
from gateways.development import SIMULATOR_SECRETS
from gateways.simulator.behaviours import BehaviourGate, read_body
from gateways.simulator.dialect import REPORTED, App, Dialect
from gateways.simulator.originals import CHILDREN
from gateways.simulator.provider import KeyReusedError, Provider
from gateways.simulator.records import PaymentRequest, Record
from gateways.simulator.rows import TrueStatus

NAME: Final = "gatewayA"

_CURRENCIES: Final = frozenset({"USD", "EUR", "GBP", "JPY", "KWD"})
_JSON: Final = "application/json"
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (how one begins)
_PATHS: Final = {f"{kind}s": kind for kind in Kind}


def mount(app: App, provider: Provider, gate: BehaviourGate) -> None:
    """Add the provider's routes to ``app``."""
    for path, kind in _PATHS.items():
        resource = _Resource(kind, provider, gate)
        app.add_route(f"/{NAME}/{path}", resource)
        app.add_route(f"/{NAME}/{path}/{{reference}}", resource, suffix="one")


def key_of(secret: str) -> bytes:
    """Decode the key of ``secret``. Raises ValueError when it is not ``whsec_<base64>``."""
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    if not secret.startswith(_SECRET_PREFIX) or not key:
        raise ValueError("not whsec_<base64>")
    return key


def callback(record: Record, key: bytes) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of the callback that reports ``record``, signed with ``key``."""
    status = REPORTED[record.status]
    body = _dump(
        {
            "event_id": f"evt_{record.id}_{status}",
            "transaction_id": record.id,
            "reference": record.request.reference,
            "status": status,
            "amount": record.request.money.text,
            "currency": record.request.money.currency,
            "extra_data": {},
        }
    )
    return _signed(key, f"msg_{record.request.reference}_{status}", int(time.time()), body), body


def _signed(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers of https://github.com/standard-webhooks/standard-webhooks: HMAC-SHA256 of ``id.timestamp.body``."""
    signature = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": _JSON,
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


class _Resource:
    """``/deposits``, ``/withdrawals``, ``/refunds``, ``/captures`` or ``/voids``."""

    def __init__(self, kind: Kind, provider: Provider, gate: BehaviourGate) -> None:
        self._kind, self._provider, self._gate = kind, provider, gate

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Process a payment request."""
        call = self._gate.admit(NAME, req, resp)
        if call is None:
            return
        request = self._payment_request(req)
        if isinstance(request, str):
            call.respond(400, _JSON, _dump({"error": request}))
            return
        try:
            behaviour, record = self._provider.submit(request)
        except KeyReusedError:
            call.respond(422, _JSON, _dump({"error": "idempotency_key_reused"}))
            return
        call.respond_as(behaviour, _JSON, b"" if record is None else _answer(record, held="success"))

    def on_get_one(self, req: falcon.Request, resp: falcon.Response, reference: str) -> None:
        """Return the state of ``reference``."""
        call = self._gate.admit(NAME, req, resp)
        if call is None:
            return
        record = self._provider.lookup(reference, self._kind)
        if record is None:
            call.respond(404, _JSON, _dump({"error": "not_found"}))
        else:
            call.respond(200, _JSON, _answer(record))

    def _payment_request(self, req: falcon.Request) -> PaymentRequest | str:
        """Parse the request; an error code when it is invalid."""
        key = req.get_header("Idempotency-Key")
        if not key:
            return "idempotency_key_missing"
        try:
            body = parse_object(read_body(req))
        except MalformedError:
            return "not_json"
        reference, amount, currency = body.get("reference"), body.get("amount"), body.get("currency")
        if not isinstance(reference, str) or not reference or not isinstance(body.get("customer"), str):
            return "invalid"
        if not isinstance(amount, str) or not isinstance(currency, str) or currency not in _CURRENCIES:
            return "invalid"
        capture, original = body.get("capture", True), body.get("original")
        if not isinstance(capture, bool) or (not capture and self._kind is not Kind.DEPOSIT):
            return "invalid"
        if (original is None) is (self._kind in CHILDREN) or not isinstance(original, str | None):
            return "invalid"
        try:
            return PaymentRequest(self._kind, reference, parse_amount(amount, currency), key, not capture, original)
        except MoneyError:
            return "invalid_amount"


def _answer(record: Record, held: str = TrueStatus.AUTHORIZED.value) -> bytes:
    """``held``: the word for money that is held."""
    status = held if record.status is TrueStatus.AUTHORIZED else record.status.value
    answer: dict[str, object] = {"transaction_id": record.id, "status": status}
    if record.status is TrueStatus.DECLINED:
        answer["code"] = record.code
    return _dump(answer)


def _dump(value: Mapping[str, object]) -> bytes:
    return json.dumps(value).encode("ascii")


DIALECT: Final = Dialect(NAME, "A", SIMULATOR_SECRETS[NAME], mount, key_of, callback)
