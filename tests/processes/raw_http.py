"""A client that sends arbitrary bytes over one connection and reads HTTP answers.

After an answer, only the next answer or the end of the connection is valid.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.processes.installation import HOST

_PATIENCE_S: Final = 30.0
_HEAD_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True)
class RawAnswer:
    """One answer; ``headers`` by names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class Wire:
    """One connection to the service."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._come = b""

    def send(self, data: bytes) -> None:
        """Send all bytes, or as many as the service reads before it closes the connection."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(data)

    def stop_sending(self) -> None:
        """Close the sending side of the connection."""
        self._connection.shutdown(socket.SHUT_WR)

    def answer(self, *, to_head: bool = False) -> RawAnswer | None:
        """The next answer, or None if the service closes the connection. ``to_head``: it has a length but no body."""
        while b"\r\n\r\n" not in self._come:
            assert len(self._come) < _HEAD_BYTES_MAX
            if not self._more():
                assert not self._come, f"this is no answer: {self._come!r}"
                return None
        head, self._come = self._come.split(b"\r\n\r\n", 1)
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = 0 if to_head else int(headers.get("content-length", "0"))
        while len(self._come) < length:
            assert self._more(), "the answer is incomplete"
        body, self._come = self._come[:length], self._come[length:]
        return RawAnswer(int(status.split()[1]), headers, body)

    @property
    def ended(self) -> bool:
        """Whether the service has closed the connection without another answer."""
        return self.answer() is None

    def _more(self) -> bool:
        try:
            data = self._connection.recv(64 * 1024)
        except ConnectionResetError:
            return False
        self._come += data
        return bool(data)


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """A connection to ``port``."""
    with socket.create_connection((HOST, port), timeout=_PATIENCE_S) as connection:
        yield Wire(connection)


def request(method: str, path: str, body: bytes = b"", *headers: str, version: str = "1.1") -> bytes:
    """A request with the length of its body, a content type, and ``headers``."""
    lines = [f"{method} {path} HTTP/{version}", "Host: service", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(method: str, path: str, body: bytes, *headers: str) -> bytes:
    """A request with a ``body`` in chunks."""
    lines = [f"{method} {path} HTTP/1.1", "Host: service", "Content-Type: application/json"]
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", *headers]).encode("latin-1") + b"\r\n\r\n" + body


def chunks(*parts: bytes) -> bytes:
    """``parts`` as the chunks of a whole body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
