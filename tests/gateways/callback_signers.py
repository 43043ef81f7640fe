"""Format and signature of each provider's callbacks, implemented independently of the adapters under test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateways.port import Callbacks, RawMembers, UnusablePayload, WebhookPayload

MEMBERS: Mapping[str, str] = {
    "reference": "0190aaaa-0000-7000-8000-000000000001",
    "gateway_reference": "X-1",
    "status": "completed",
    "amount": "100.00",
    "currency": "USD",
}
"""Members of a callback in the suite's words; ``Signer.body`` converts them to the provider's format."""


@dataclass(frozen=True)
class Signer:
    """One provider that sends callbacks. Header names are in lower case.

    ``sign`` makes the signature header's value for a secret and the signed bytes. ``body`` formats the members of
    MEMBERS, and passes unknown values on unchanged. ``unreadable`` are genuine bodies without a usable content, and
    ``odd`` are invalid secrets for this provider.
    """

    id_header: str
    timestamp_header: str
    signature_header: str
    secrets: tuple[str, str, str]
    sign: Callable[[str, bytes], str]
    body: Callable[[Mapping[str, object]], bytes]
    unreadable: Mapping[str, bytes]
    odd: tuple[str, ...]

    def headers(self, secret: str, event_id: str, timestamp: str, body: bytes) -> dict[str, str]:
        """The headers of a callback signed with ``secret``, with some of an ordinary request."""
        signature = self.sign(secret, f"{event_id}.{timestamp}.".encode() + body)
        return {
            "content-type": "application/json",
            self.id_header: event_id,
            self.timestamp_header: timestamp,
            self.signature_header: signature,
            "host": "127.0.0.1",
        }


def unreadable_json(body: Callable[[Mapping[str, object]], bytes]) -> dict[str, bytes]:
    """Unusable bodies in JSON: other shapes, and members of other types."""
    plain = body(MEMBERS)
    types: tuple[object, ...] = (None, 5, True, [], {}, ["x"], {"x": 1}, "", "\ud800", "a\nb", "a b", "\u0412-1")
    foreign = {"reference": types, "gateway_reference": types, "status": types, "currency": types}
    amounts: tuple[object, ...] = (None, True, False, [], {}, 0, -1, 10**400)
    return {
        "nothing": b"",
        "garbage": b"\x00\xff<html>",
        "another encoding": plain.decode().encode("utf-16"),
        "cut short": plain[:-1],
        "more than one": plain * 2,
        "a list": b"[" + plain + b"]",
        "a text": b'"completed"',
        "deep nesting": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "a status twice": plain.replace(b'"status"', b'"status": "failed", "status"'),
        "an amount twice": plain.replace(b'"amount"', b'"amount": "1.00", "amount"'),
        "a number that is none": plain.replace(b"{", b'{"fee": NaN, ', 1),
        "an endless number": plain.replace(b'"100.00"', b"1e999999999"),
        "a fraction of nothing": plain.replace(b'"100.00"', b"100.001"),
        **{
            f"{name} {number}": body({**MEMBERS, name: value})
            for name, values in {**foreign, "amount": amounts}.items()
            for number, value in enumerate(values)
        },
    }


def _body_of_a(members: Mapping[str, object]) -> bytes:
    return json.dumps(
        {
            "event_id": "evt_of_the_body",
            "transaction_id": members["gateway_reference"],
            "reference": members["reference"],
            "status": members["status"],
            "amount": members["amount"],
            "currency": members["currency"],
            "extra_data": {},
        }
    ).encode()


def _sign_as_a(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return f"v1,{base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()}"


SIGNER_A = Signer(
    id_header="webhook-id",
    timestamp_header="webhook-timestamp",
    signature_header="webhook-signature",
    secrets=(
        "whsec_bmV3ZXN0LW5ld2VzdC1uZXdlc3Q=",
        "whsec_b2xkZXItb2xkZXItb2xkZXItb2xkZXI=",
        "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXI=",
    ),
    sign=_sign_as_a,
    body=_body_of_a,
    unreadable=unreadable_json(_body_of_a),
    odd=(
        "whsec_",
        "whsec_AAAAAAAAAAAAAAAAAAAA",  # 15 bytes
        "whsec_bmV3ZXN0LW5ld2VzdC1uZXdlc3Q",  # without its padding
        "whsec_bmV3ZXN0LW5l!2VzdC1uZXdlc3Q=",
        "whsec_bmV3ZXN0LW5ld2VzdC1uZXdlc3\u0412=",
        "whsec_bmV3ZXN0 LW5ld2VzdC1uZXdlc3Q=",
        "bmV3ZXN0LW5ld2VzdC1uZXdlc3Q=",
        "WHSEC_bmV3ZXN0LW5ld2VzdC1uZXdlc3Q=",
        "whsec_whsec_bmV3ZXN0LW5ld2VzdC1uZXdlc3Q=",
        "whpk_bmV3ZXN0LW5ld2VzdC1uZXdlc3Q=",
    ),
)


def _body_of_b(members: Mapping[str, object]) -> bytes:
    metadata = {name: members[name] for name in ("reference", "amount", "currency")}
    members = {"transaction_id": members["gateway_reference"], "status": members["status"], "metadata": metadata}
    return json.dumps(members).encode()


def hex_signature(secret: str, content: bytes) -> str:
    """The HMAC-SHA256 in hexadecimal digits, with the bytes of the secret's text as key."""
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


SIGNER_B = Signer(
    id_header="x-gateway-event-id",
    timestamp_header="x-gateway-timestamp",
    signature_header="x-gateway-signature",
    secrets=("newest-newest-newest", "older-older-older-older", "other secrets of \u00fcmlauts"),
    sign=lambda secret, content: f"sha256={hex_signature(secret, content)}",
    body=_body_of_b,
    unreadable={
        **unreadable_json(_body_of_b),
        "no metadata": b'{"transaction_id": "B-1", "status": "completed"}',
        "metadata of another type": b'{"transaction_id": "B-1", "status": "completed", "metadata": "x"}',
        "members outside of the metadata": _body_of_a(MEMBERS),
    },
    odd=("fifteen-letters", "half a character \udcff of sixteen"),
)


def verified(callbacks: Callbacks, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The event id of the one notice in a callback. Raises SignatureInvalidError."""
    [notice] = callbacks.read(headers, body, now)
    return notice.event_id


def read_signed(
    signer: Signer, callbacks: Callbacks, body: bytes, secret: str | None = None
) -> WebhookPayload | UnusablePayload:
    """The payload of ``body``, signed by ``secret``, else by the newest of the signer's secrets."""
    headers = signer.headers(secret or signer.secrets[0], "evt_1", "1700000000", body)
    [notice] = callbacks.read(headers, body, datetime.fromtimestamp(1_700_000_000, UTC))
    assert notice.event_id == "evt_1"
    return notice.payload


def payload_of(signer: Signer, callbacks: Callbacks, body: bytes, secret: str | None = None) -> WebhookPayload:
    """The usable payload of ``body``."""
    read = read_signed(signer, callbacks, body, secret)
    assert isinstance(read, WebhookPayload)
    return read


def applied(signer: Signer, callbacks: Callbacks, body: bytes, secret: str | None = None) -> WebhookPayload:
    """The payload of ``body`` without its raw members, which are for operators only."""
    return payload_of(signer, callbacks, body, secret)._replace(raw=RawMembers())


def shows(error: BaseException, text: str) -> bool:
    """Whether ``error`` or one of its causes holds ``text`` anywhere that a log might print."""
    spelt = (text, repr(text)[1:-1], repr(text.encode("latin-1", "replace"))[2:-1])
    printed = "".join(f"{each!s} {each!r} {vars(each)!r}" for each in _chain(error))
    return any(each in printed for each in spelt)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
