"""Subjects of the contract suite: each adapter with its provider's wording of the same responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from domain.outcomes import Category
from gateways.port import Gateway
from gateways.registry import build_gateways, read_settings
from tests.gateways import callback_signers


@dataclass(frozen=True)
class Subject:
    """One adapter. ``response_body`` makes a response with status 200 from status, code or None, and reference.

    ``not_found`` is status and body of the response to a lookup of an order that was never received. ``malformed`` are
    bodies that no response with status 200 may have. ``codes`` are the provider's decline codes and their meanings,
    ``not_executed`` the statuses that guarantee that it did nothing. ``signer`` makes its callbacks.
    ``holds``: deposits may be held until a capture.
    """

    adapter: str
    media_type: str
    foreign_media_types: tuple[str, ...]
    response_body: Callable[[str, str | None, str], bytes]
    not_found: tuple[int, bytes]
    malformed: Mapping[str, bytes]
    codes: Mapping[str, tuple[str, Category | None]]
    not_executed: frozenset[int] = frozenset()
    holds: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    signer: callback_signers.Signer | None = None

    def gateway(
        self, url: str, timeout_s: float = 5.0, max_concurrent: int = 4, secrets: tuple[str, ...] = ()
    ) -> Gateway:
        """The gateway, made as the service makes it."""
        table = {
            "adapter": self.adapter,
            "url": url,
            "timeout_s": timeout_s,
            "max_concurrent": max_concurrent,
            **self.options,
        }
        return build_gateways(read_settings({"subject": table}), {"subject": secrets})["subject"]


def _json_response(status: str, code: str | None, reference: str) -> bytes:
    return json.dumps({"transaction_id": reference, "status": status, **({"code": code} if code else {})}).encode()


GATEWAY_A = Subject(
    adapter="gateway_a",
    holds=True,
    signer=callback_signers.SIGNER_A,
    media_type="application/json",
    foreign_media_types=("text/html", "application/xml", "text/plain", "application/json, text/html"),
    response_body=_json_response,
    not_found=(404, b'{"error": "not_found"}'),
    malformed={
        "nothing": b"",
        "garbage": b"\x00\xff<html>",
        "cut short": _json_response("success", None, "A-1")[:-1],
        "more than one": _json_response("success", None, "A-1") * 2,
        "another shape": b'["success"]',
        "deep nesting": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "a status twice": b'{"transaction_id": "A-1", "status": "pending", "status": "success"}',
        "a number that is none": b'{"transaction_id": "A-1", "status": "success", "fee": NaN}',
        "no status": b'{"transaction_id": "A-1"}',
        "a status of another type": b'{"transaction_id": "A-1", "status": true}',
        "a status in capitals": b'{"transaction_id": "A-1", "status": "SUCCESS"}',
        "no reference": b'{"status": "success"}',
        "no reference of a decline": b'{"status": "declined", "code": "do_not_honor"}',
        "a reference of another type": b'{"transaction_id": 1, "status": "success"}',
        "an empty reference": b'{"transaction_id": "", "status": "success"}',
        "a reference with a line feed": b'{"transaction_id": "A\\n1", "status": "success"}',
        "a reference with half a character": b'{"transaction_id": "\\ud800", "status": "success"}',
        "an endless reference": json.dumps({"transaction_id": "A" * 129, "status": "success"}).encode(),
        "a code of another type": b'{"transaction_id": "A-1", "status": "declined", "code": 5}',
    },
    codes={
        "do_not_honor": ("do_not_honor", Category.HARD),
        "expired_card": ("expired_card", Category.HARD),
        "stolen_card": ("stolen_card", Category.HARD),
        "amount_too_large": ("amount_too_large", Category.HARD),
        "duplicate_transaction": ("duplicate_transaction", Category.HARD),
        "original_not_found": ("original_not_found", Category.HARD),
        "authorization_expired": ("authorization_expired", None),
        "authorization_cancelled": ("authorization_cancelled", None),
        "insufficient_funds": ("insufficient_funds", Category.SOFT),
        "issuer_unavailable": ("issuer_unavailable", Category.SOFT),
    },
)


def _xml_response(status: str, code: str | None, reference: str) -> bytes:
    elements = {"transaction_id": reference, "status": status, "code": code or ""}
    return _xml("".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items()))


def _xml(inner: str) -> bytes:
    return f"<response>{inner}</response>".encode()


_ID, _SUCCESS = "<transaction_id>B-1</transaction_id>", "<status>success</status><code/>"
_DECLINED = f"{_ID}<status>declined</status><code>05</code>"

GATEWAY_B = Subject(
    adapter="gateway_b",
    holds=True,
    signer=callback_signers.SIGNER_B,
    media_type="application/xml",
    foreign_media_types=(
        "text/html",
        "application/json",
        "application/xhtml+xml",
        "application/xml; charset=utf-16",
        "application/xml; charset=iso-8859-1",
        "application/xml, text/html",
    ),
    response_body=_xml_response,
    not_found=(200, _xml("<transaction_id/><status>not_found</status><code/>")),
    malformed={
        "nothing": b"",
        "garbage": b"\x00\xff<html>",
        "JSON": _json_response("success", None, "B-1"),
        "cut short": _xml_response("success", None, "B-1")[:-1],
        "more than one": _xml_response("success", None, "B-1") * 2,
        "another root": _xml(_ID + _SUCCESS).replace(b"response", b"request"),
        "a root around it": b"<envelope>" + _xml(_ID + _SUCCESS) + b"</envelope>",
        "a namespace": _xml(_ID + _SUCCESS).replace(b"<response", b'<response xmlns="urn:b"'),
        "an attribute": _xml(_ID + _SUCCESS).replace(b"<status", b'<status test="yes"'),
        "text between elements": _xml(f"{_ID}{_SUCCESS}declined"),
        "a status in a status": _xml(f"{_ID}<status><status>success</status></status>"),
        "a comment in a status": _xml(f"{_ID}<status>declined<!-- not --></status>"),
        "a status twice": _xml(f"{_ID}<status>pending</status>{_SUCCESS}"),
        "a reference twice": _xml(f"{_ID}{_ID}{_SUCCESS}"),
        "a code twice": _xml(f"{_DECLINED}<code>51</code>"),
        "no status": _xml(_ID),
        "an empty status": _xml(f"{_ID}<status/><code/>"),
        "a status in capitals": _xml(f"{_ID}<status>SUCCESS</status>"),
        "never received, and yet a reference": _xml(f"{_ID}<status>not_found</status><code/>"),
        "no reference": _xml(_SUCCESS),
        "no reference of a decline": _xml("<status>declined</status><code>05</code>"),
        "an empty reference": _xml(f"<transaction_id/>{_SUCCESS}"),
        "a reference with a line feed": _xml(f"<transaction_id>B&#10;1</transaction_id>{_SUCCESS}"),
        "a reference in white space": _xml(f"<transaction_id> B-1 </transaction_id>{_SUCCESS}"),
        "a reference of other letters": _xml(f"<transaction_id>\u0412-1</transaction_id>{_SUCCESS}"),
        "an endless reference": _xml(f"<transaction_id>{'B' * 129}</transaction_id>{_SUCCESS}"),
        "a document type": b"<!DOCTYPE response>" + _xml(_ID + _SUCCESS),
        "an entity": b'<!DOCTYPE response [<!ENTITY s "success">]>' + _xml(f"{_ID}<status>&s;</status>"),
        "an entity from elsewhere": (
            b'<!DOCTYPE response [<!ENTITY s SYSTEM "file:///etc/hostname">]>' + _xml(f"{_ID}<status>&s;</status>")
        ),
        "another encoding": b'<?xml version="1.0" encoding="ISO-8859-1"?>' + _xml(_ID + _SUCCESS),
        "UTF-16": _xml(_ID + _SUCCESS).decode().encode("utf-16"),
    },
    codes={
        "05": ("do_not_honor", Category.HARD),
        "54": ("expired_card", Category.HARD),
        "51": ("insufficient_funds", Category.SOFT),
        "91": ("issuer_unavailable", Category.SOFT),
        "13": ("amount_too_large", Category.HARD),
        "94": ("duplicate_transaction", Category.HARD),
        "25": ("original_not_found", Category.HARD),
        "A1": ("authorization_expired", None),
        "A2": ("authorization_cancelled", None),
    },
)

SUBJECTS = (GATEWAY_A, GATEWAY_B)
