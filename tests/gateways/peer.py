"""A real HTTP server on a free port. For each request it does what the test defines, right or wrong."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

Behave = Callable[["Exchange"], None]


@dataclass(frozen=True)
class Request:
    """A request as received. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Exchange:
    """One request and the connection that waits for its answer.

    ``ended`` is set when the test ends: then no wait continues.
    """

    request: Request
    connection: socket.socket
    ended: threading.Event


class Peer:
    """Listens on 127.0.0.1 until closed. ``behave`` may be replaced at any time, and applies to the next request."""

    def __init__(self, behave: Behave, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.requests: list[Request] = []
        self.connections = 0
        self._tls = tls
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        """The URL at which it listens."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(30)  # close() ends it earlier
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            while (request := self._read(connection)) is not None:
                self.requests.append(request)
                self.behave(Exchange(request, connection, self._ended))
        except OSError:
            pass  # the client or the behaviour has closed the connection
        finally:
            self._open.discard(connection)
            connection.close()

    def _read(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            received = connection.recv(65536)
            if not received:
                return None
            data += received
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            received = connection.recv(65536)
            if not received:
                return None
            body += received
        return Request(method, path, headers, body)


# --- behaviours ---


def answers(status: int, body: bytes, media_type: str = "application/json", **headers: str) -> Behave:
    """A complete, correct answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {media_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return sends("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def sends(data: bytes) -> Behave:
    """Send exactly these bytes, and keep the connection open."""

    def behave(exchange: Exchange) -> None:
        exchange.connection.sendall(data)

    return behave


def sends_and_closes(data: bytes) -> Behave:
    """Send exactly these bytes, and close the connection."""

    def behave(exchange: Exchange) -> None:
        sends(data)(exchange)
        exchange.connection.close()

    return behave


def sends_nothing(exchange: Exchange) -> None:
    """Keep the connection open without an answer until the test ends."""
    exchange.ended.wait(30)


def drips(data: bytes, at: int = 0, every_s: float = 0.05) -> Behave:
    """Send ``data``, from ``at`` on a byte at a time. Each byte comes well within any deadline for a single read."""

    def behave(exchange: Exchange) -> None:
        exchange.connection.sendall(data[:at])
        for index in range(at, len(data)):
            if exchange.ended.wait(every_s):
                return
            exchange.connection.sendall(data[index : index + 1])

    return behave


def resets(exchange: Exchange) -> None:
    """Reset the connection without an answer."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.connection.close()


def resets_after(data: bytes) -> Behave:
    """Send exactly these bytes, and reset the connection."""

    def behave(exchange: Exchange) -> None:
        sends(data)(exchange)
        resets(exchange)

    return behave


def closes(exchange: Exchange) -> None:
    """Close the connection without an answer."""
    exchange.connection.close()


def first(then: Behave, *, once: Behave) -> Behave:
    """Apply ``once`` to the first request, and ``then`` to all others."""
    calls = iter([once])

    def behave(exchange: Exchange) -> None:
        next(calls, then)(exchange)

    return behave


class FullListener:
    """A listening address with a full queue that is never accepted from: connecting to it does not return."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.settimeout(0)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))

    def close(self) -> None:
        """Free the address."""
        for each in [*self._fillers, self._listener]:
            each.close()


class Dripper:
    """Listens on 127.0.0.1, never reads, and sends ``data`` to each connection, a byte at a time and then nothing."""

    def __init__(self, data: bytes, every_s: float = 0.05) -> None:
        self._data, self._every_s = data, every_s
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._drip, args=self._listener.accept()[:1], daemon=True).start()

    def _drip(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            for index in range(len(self._data)):
                connection.sendall(self._data[index : index + 1])
                if self._ended.wait(self._every_s):
                    return
            self._ended.wait(30)


def unused_port() -> int:
    """A port on 127.0.0.1 where no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
