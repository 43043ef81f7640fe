"""A strict, fast reader of ordinary request heads. Whatever it does not accept is left to gunicorn's parser.

It accepts less than gunicorn's parser, and nothing else: HTTP/1.1 with a usual method and an absolute path, headers in
printable ASCII that occur once, and a body of known length. ``tests/server/test_ordinary.py`` compares the two parsers.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from gunicorn.config import Config
from gunicorn.util import unquote_to_wsgi_str

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_VERSION: Final = "HTTP/1.1"
_LENGTH_DIGITS_MAX: Final = 18
_HEAD_BYTES_MAX: Final = 4094
_HEADERS_MAX: Final = 100
# A token without the underscore: gunicorn drops such headers, because WSGI cannot tell "_" from "-".
_NAME: Final = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]+")
_NOT_ORDINARY: Final = frozenset({"EXPECT", "HTTP2-SETTINGS", "TRANSFER-ENCODING", "UPGRADE"})
"""Headers that change how a request is framed or answered."""
_USUAL: Final = (
    *("Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection"),
    *("Content-Encoding", "Content-Length", "Content-Type", "Host", "Idempotency-Key", "Origin", "traceparent"),
    *("User-Agent", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "X-Request-ID"),
)
_UNPREFIXED: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")


def _key_of(name: str) -> str | None:
    """The key in the WSGI environment for a header; None for a name that is not ordinary."""
    if _NAME.fullmatch(name) is None or name.upper() in _NOT_ORDINARY:
        return None
    key = name.upper().replace("-", "_")
    return key if key in _UNPREFIXED else f"HTTP_{key}"


_KEYS: Final = {spelled: _key_of(name) for name in _USUAL for spelled in (name, name.lower(), name.title())}


class Limits(NamedTuple):
    """A head within these limits is within gunicorn's as well."""

    head_bytes: int
    headers: int

    @classmethod
    def of(cls, config: Config) -> Limits:
        """Limits within those of gunicorn's options, where 0 or less means the largest."""
        sizes = (_HEAD_BYTES_MAX, config.limit_request_line, config.limit_request_field_size)
        counts = (_HEADERS_MAX, config.limit_request_fields)
        return cls(min(size for size in sizes if size > 0), min(count for count in counts if count > 0))


class OrdinaryHead(NamedTuple):
    """The parts of a head. ``end``: the number of its bytes; ``length``: the number of bytes of the body."""

    method: str
    uri: str
    path: str
    query: str
    keeps: bool
    end: int
    length: int


def read_head(data: bytes, environ: dict[str, Any], limits: Limits) -> OrdinaryHead | None:
    """Read the head at the beginning of ``data`` into ``environ``; None when it is incomplete or not ordinary."""
    end = data.find(b"\r\n\r\n", 0, limits.head_bytes)
    if end < 0 or not (data.isascii() or data[:end].isascii()):
        return None
    line, *headers = data[:end].decode("ascii").split("\r\n")
    # A line break that is not the end of a line is a control character.
    if len(headers) > limits.headers or not (line.isprintable() and "".join(headers).isprintable()):
        return None
    parts = line.split(" ")
    if len(parts) != 3:
        return None
    method, uri, version = parts
    if method not in _METHODS or version != _VERSION or uri[:1] != "/" or "#" in uri:
        return None
    for header in headers:
        name, colon, value = header.partition(":")
        key = _KEYS.get(name) or _key_of(name)
        if key is None or not colon or key in environ:
            return None
        environ[key] = value.strip(" ")
    length: str = environ.get("CONTENT_LENGTH", "0")
    connection: str = environ.get("HTTP_CONNECTION", "keep-alive").lower()
    if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX or connection not in {"keep-alive", "close"}:
        return None
    path, _, query = uri.partition("?")
    environ["REQUEST_METHOD"], environ["RAW_URI"], environ["QUERY_STRING"] = method, uri, query
    environ["PATH_INFO"] = unquote_to_wsgi_str(path) if "%" in path else path
    return OrdinaryHead(method, uri, path, query, connection == "keep-alive", end + 4, int(length))
