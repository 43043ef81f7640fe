"""The adapters that the contract suite runs against: how each one's provider says the same things in its own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateways.port import Gateway
from gateways.registry import build_gateways, read_settings


@dataclass(frozen=True)
class Subject:
    """One adapter. ``said`` words an answer with status 200: its status, a code or none, the provider's reference.

    ``not_found`` is status and body of the answer to a lookup of what was never received; ``malformed`` are bodies
    that no answer with status 200 may have.
    """

    adapter: str
    media_type: str
    foreign_media_type: str
    said: Callable[[str, str | None, str], bytes]
    not_found: tuple[int, bytes]
    malformed: Mapping[str, bytes]
    options: Mapping[str, object] = field(default_factory=dict)

    def gateway(self, url: str, timeout_s: float = 5.0, max_concurrent: int = 4) -> Gateway:
        """The gateway, made as the service makes it."""
        table = {
            "adapter": self.adapter,
            "url": url,
            "timeout_s": timeout_s,
            "max_concurrent": max_concurrent,
            **self.options,
        }
        return build_gateways(read_settings({"subject": table}))["subject"]


def _json_said(status: str, code: str | None, reference: str) -> bytes:
    return json.dumps({"transaction_id": reference, "status": status, **({"code": code} if code else {})}).encode()


GATEWAY_A = Subject(
    adapter="gateway_a",
    media_type="application/json",
    foreign_media_type="text/html",
    said=_json_said,
    not_found=(404, b'{"error": "not_found"}'),
    malformed={
        "nothing": b"",
        "garbage": b"\x00\xff<html>",
        "cut short": _json_said("success", None, "A-1")[:-1],
        "more than one": _json_said("success", None, "A-1") * 2,
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
)

SUBJECTS = (GATEWAY_A,)
