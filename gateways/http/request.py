"""A request as bytes. No part of it can end its line, or add a header, a body or a second request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateways.http.errors import TransportError
from gateways.http.head import NAME

METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""Methods whose responses have a body by their headers alone; HEAD and CONNECT differ."""
OWN_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that the transport sets itself, or that would change how a request or response is delimited."""
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_HOST: Final = re.compile(r"[!-~]++")
_PREFIX: Final = re.compile(r"(?:/[!-~]*+)?")
_PATH: Final = re.compile(r"/[!-~]*+")
_HEADERS: Final = re.compile(rf"(?:{NAME}: [\t\x20-\x7e\x80-\xff]*+\r\n)*+")


class RequestEncoder:
    """Encodes requests to ``host`` for paths below ``prefix``. Raises ValueError when either cannot be sent."""

    def __init__(self, host: str, prefix: str) -> None:
        if _HOST.fullmatch(host) is None or _PREFIX.fullmatch(prefix) is None:
            raise ValueError("a URL that cannot be sent")
        self._prefix = prefix
        self._common = f" HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n"

    def encode(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """The bytes of one request. Raises TransportError when a part of it cannot be sent."""
        if method not in METHODS:
            raise TransportError("a method that cannot be sent")
        if _PATH.fullmatch(path) is None:
            raise TransportError("a path that cannot be sent")
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        # As many line ends as headers, so none is inside a header.
        if _HEADERS.fullmatch(lines) is None or lines.count("\r\n") != len(headers):
            raise TransportError("a header that cannot be sent")
        # The form allows a colon in a value, and so does not find one in a name.
        if ":" in "".join(headers):
            raise TransportError("a header that cannot be sent")
        if not OWN_HEADERS.isdisjoint(map(str.lower, headers)):
            raise TransportError("a header that the transport sets itself")
        length = f"Content-Length: {len(body)}\r\n" if body or method in _WITH_BODY else ""
        return f"{method} {self._prefix}{path}{self._common}{length}{lines}\r\n".encode("latin-1") + body
