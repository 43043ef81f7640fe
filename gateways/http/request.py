"""A request as bytes. No part of it can end its line, or add a header, a body or a second request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateways.http.errors import TransportError
from gateways.http.head import TOKEN

METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""Methods whose responses have a body by their headers alone; HEAD and CONNECT differ."""
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_TARGET: Final = re.compile(r"/[!-~]*+")
_HEADERS: Final = re.compile(rf"(?:{TOKEN}: [\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_OWN: Final = re.compile(
    r"^(?:host|accept-encoding|connection|content-length|expect|te|trailer|transfer-encoding|upgrade):", re.I | re.M
)


def encoded(method: str, prefix: str, path: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a request for ``path`` below ``prefix``. ``host`` has been checked. Raises TransportError."""
    if method not in METHODS:
        raise TransportError("a method that cannot be sent")
    target = prefix + path
    if path[:1] != "/" or _TARGET.fullmatch(target) is None:
        raise TransportError("a path that cannot be sent")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    # As many line ends as headers: none is inside a header.
    if _HEADERS.fullmatch(lines) is None or lines.count("\r\n") != len(headers) or _OWN.search(lines) is not None:
        raise TransportError("a header that cannot be sent")
    length = f"Content-Length: {len(body)}\r\n" if body or method in _WITH_BODY else ""
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n{length}{lines}\r\n"
    return head.encode("latin-1") + body
