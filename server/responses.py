"""Responses whose head and body leave in one send. gunicorn sends the head first and the body after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import TracebackType
from typing import Final, TypeAlias

from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import STATUS_RE, Response  # type: ignore[attr-defined]  # since 27
from gunicorn.util import http_date, is_hoppish

_Error: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]

_LENGTH: Final = "content-length"
_FINAL: Final = 200
_WITHOUT_BODY: Final = frozenset({204, 304})


class OneSendResponse(Response):
    """gunicorn's response. It takes a short way for one with a body of known length, with the same bytes."""

    _plain = False
    """Whether the headers are sent unchanged, and then a body of ``response_length``."""

    def start_response(
        self, status: str, headers: Iterable[tuple[str, str]], exc_info: _Error | None = None
    ) -> Callable[[bytes], None]:
        """See PEP 3333."""
        fields = [*headers]
        length = _plain_length(fields)
        code = _code_of(status)
        if exc_info or self.status is not None or code is None or length is None or self.req.method == "HEAD":
            self._plain = False  # a response that this one replaces may have been
            return super().start_response(status, fields, exc_info)
        self.status, self.status_code, self.headers, self.response_length = status, code, fields, length
        self._plain = True
        return self.write

    def write(self, arg: bytes) -> None:
        """Send a part of the body, after the head if that was not sent yet."""
        version = self.req.version
        if not self._plain or self.headers_sent or len(arg) != self.response_length or version is None:
            super().write(arg)
            return
        connection = "close" if self.should_close() else "keep-alive"
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        head = (
            f"HTTP/{version[0]}.{version[1]} {self.status}\r\nServer: {self.version}\r\n"
            f"Date: {_date(int(time.time()))}\r\nConnection: {connection}\r\n{fields}\r\n"
        )
        self.sock.sendall(head.encode("ascii") + arg)
        self.headers_sent, self.sent = True, len(arg)


@lru_cache
def _code_of(status: str) -> int | None:
    """The code of a status of a response that may have a body; None leaves the status to gunicorn."""
    if not status.isascii() or STATUS_RE.fullmatch(status) is None:
        return None
    code = int(status[:3])
    return None if code < _FINAL or code in _WITHOUT_BODY else code


@lru_cache
def _is_plain(name: str) -> bool:
    """Whether gunicorn sends the header ``name`` unchanged."""
    return TOKEN_RE.fullmatch(name) is not None and not is_hoppish(name)


def _plain_length(headers: list[tuple[str, str]]) -> int | None:
    """The length of the body by the headers; None unless gunicorn sends all of them unchanged."""
    length = None
    for name, value in headers:
        # A line break is not printable.
        if not (_is_plain(name) and value.isascii() and value.isprintable() and value.strip(" ") == value):
            return None
        if name.lower() == _LENGTH:
            if length is not None or not value.isdigit():
                return None
            length = int(value)
    return length


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return http_date(second)
