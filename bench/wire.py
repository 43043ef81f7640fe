"""Minimal HTTP/1.1 for the bench: prepared requests, and the parsing that finds the end of a message.

Both peers are known programs on loopback, so parsing is not strict and reads only the needed parts.
"""

from __future__ import annotations

import json
import random
import re
from typing import Final

DEPOSIT_PATH: Final = "/v1/deposit"
SEED: Final = 1
"""Of the customers."""

_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]+)\r\n")
_ID: Final = re.compile(rb'"transaction_id": ?"([^"]+)"')
_REFERENCE: Final = re.compile(rb"\r\nIdempotency-Key: ?([^\r]+)\r\n")
_LOOKUP: Final = re.compile(rb"GET /\S*/([^/\s]+) HTTP")


def deposit(host: str, customer_id: str, path: str = DEPOSIT_PATH) -> bytes:
    """The complete request for one deposit, as a client library would send it."""
    body = json.dumps({"amount": 100.0, "gateway": "gatewayA", "customer_id": customer_id}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def customers(count: int, seed: int) -> list[str]:
    """``count`` different customer ids; the same seed gives the same ids.

    The letter before the digits prevents an id of digits only, which could read as a card number.
    """
    chance = random.Random(seed)
    return [f"c{chance.getrandbits(64):016x}" for _ in range(count)]


def end_of_message(data: bytes) -> int:
    """The end of the first message in ``data``; 0 while it is not complete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    length = _LENGTH.search(data, 0, head + 2)
    end = head + 4 if length is None else head + 4 + int(length[1])
    return end if len(data) >= end else 0


def status_of(answer: bytes) -> int:
    """The status of a complete answer."""
    return int(answer[9:12])


def transaction_id_of(answer: bytes) -> str | None:
    """The transaction id in an answer."""
    found = _ID.search(answer)
    return None if found is None else found[1].decode()


def reference_of(request: bytes) -> bytes | None:
    """The key of a request to the provider: for a submission, its idempotency key."""
    found = _REFERENCE.search(request) if request.startswith(b"POST ") else None
    return None if found is None else found[1]


def looked_up(request: bytes) -> bytes | None:
    """The reference of a lookup."""
    found = _LOOKUP.match(request)
    return None if found is None else found[1]


def answer(status: bytes, body: bytes) -> bytes:
    """An answer with a JSON body. ``status`` includes the reason, such as ``200 OK``."""
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
