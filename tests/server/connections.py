"""A connection whose client sends given pieces, and gunicorn's configuration, for tests of the server's parser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from gunicorn.config import Config

if TYPE_CHECKING:
    from socket import socket


class Client:
    """The server's end of a connection: it receives the pieces, and keeps what it sends."""

    def __init__(self, pieces: Iterable[bytes] = ()) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.sent: list[bytes] = []

    @property
    def socket(self) -> socket:
        """The connection under the type that gunicorn declares."""
        return cast("socket", self)

    def recv(self, size: int) -> bytes:
        """The next piece; nothing after the last."""
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: bytes) -> int:
        """Keep the data."""
        self.sent.append(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Keep the data."""
        self.sent.append(data)


def configured(**options: object) -> Config:
    """The configuration as in gunicorn.conf.py, with further ``options``."""
    config = Config()
    for name, value in {"http_parser": "python", "forwarder_headers": "", **options}.items():
        config.set(name, value)
    return config
