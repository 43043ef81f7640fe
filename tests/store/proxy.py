"""A proxy between a store and its PostgreSQL server that splits and counts messages, and cuts the connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Final

_SYNC: Final = b"S"
_ALONE: Final = (b"Q", b"X", b"p")
_EXECUTE: Final = b"E"


class Cut(Enum):
    """The place at which the connection is cut, the next time that a statement passes."""

    BEFORE_REQUEST = "the server never receives it"
    AFTER_REQUEST = "the server has received it and has not answered"
    BEFORE_ANSWER = "the server has committed, and its answer is lost"


class Proxy:
    """Listens on 127.0.0.1, on a free port or ``port``, and passes all bytes to the server and back."""

    def __init__(self, host: str, server_port: int, *, port: int = 0) -> None:
        self._server = (host, server_port)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        """The number of times that a client has sent something and waited for the answer."""
        self._lock = threading.Lock()
        self._cuts: list[Cut] = []
        self._sockets: list[socket.socket] = []
        self.only = b""
        """A statement is cut only if its messages or values contain this."""
        self.flows = threading.Event()
        """While it is not set, the server's answers are held back without any error."""
        self.flows.set()
        self.on_cut: Callable[[], None] = lambda: None
        """Called just before the connection is cut."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *where: Cut) -> None:
        """Cut the connection at the next statement, and again at those after it."""
        self._cuts += where

    def close(self) -> None:
        """Close everything."""
        self.flows.set()
        _shut(self._listener)
        for one in self._sockets:
            _shut(one)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                _Line(self, client, server).start()

    def counted(self) -> None:
        """Count one more round trip."""
        with self._lock:
            self.round_trips += 1

    def next_cut(self) -> Cut | None:
        """The place to cut the connection now, if any."""
        with self._lock:
            return self._cuts.pop(0) if self._cuts else None


class _Line:
    """One client's connection. A statement that can be cut is one that is executed and ends with a Sync."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._answer_is_lost = False

    def start(self) -> None:
        for job in (self._requests, self._answers):
            threading.Thread(target=job, daemon=True).start()

    def _requests(self) -> None:
        with suppress(OSError):
            self._server.sendall(self._startup())
            held, executes = b"", False
            while True:
                kind, message = self._message(self._client)
                held += message
                executes = executes or kind == _EXECUTE
                if kind == _SYNC:
                    self._proxy.counted()
                    if not self._pass(held, self._proxy.next_cut() if executes and self._proxy.only in held else None):
                        break
                    held, executes = b"", False
                elif kind in _ALONE:
                    self._server.sendall(held)
                    held = b""
                elif not kind:
                    break
        self._shut()

    def _pass(self, held: bytes, cut: Cut | None) -> bool:
        """Pass a statement on. Returns False when the connection is cut at it."""
        self._answer_is_lost = cut is Cut.BEFORE_ANSWER
        if cut is not Cut.BEFORE_REQUEST:
            self._server.sendall(held)
        if cut in (Cut.BEFORE_REQUEST, Cut.AFTER_REQUEST):
            self._proxy.on_cut()
            return False
        return True

    def _answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65_536):
                self._proxy.flows.wait()
                if self._answer_is_lost and data.endswith(b"Z\x00\x00\x00\x05I"):
                    self._proxy.on_cut()
                    break
                if not self._answer_is_lost:
                    self._client.sendall(data)
        self._shut()

    def _startup(self) -> bytes:
        length = _exactly(self._client, 4)
        return length + _exactly(self._client, int.from_bytes(length) - 4)

    @staticmethod
    def _message(source: socket.socket) -> tuple[bytes, bytes]:
        kind = source.recv(1)
        if not kind:
            return b"", b""
        length = _exactly(source, 4)
        return kind, kind + length + _exactly(source, int.from_bytes(length) - 4)

    def _shut(self) -> None:
        _shut(self._client)
        _shut(self._server)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
