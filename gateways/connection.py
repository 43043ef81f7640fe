"""One TCP or TLS connection as the socket of ``http.client``, with every step bounded in time and size.

Its socket never blocks: each operation is tried, and waits at most until the call's deadline. A socket timeout would
restart with each read, under TLS in greenlets even with each packet. It would never end for a peer that sends a byte a
second.
"""

from __future__ import annotations

import io
import math
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_T = TypeVar("_T")

ResolvedAddress = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""One result of ``getaddrinfo``."""


class TransportError(HTTPException):
    """A violation found by the transport itself. The text quotes nothing that was sent or received."""


class Deadline:
    """A point in time on the monotonic clock by which a whole call must be over."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def left_s(self) -> float:
        """The seconds left, more than 0. Raises TimeoutError when none are left."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class Wire(io.BufferedReader):
    """A connected socket and its one file, for consecutive calls. ``tls``: speak TLS with ``host``.

    Bytes after a response stay visible here; a separate file per response would lose them. Reading raises OSError when
    the network fails, TimeoutError at the deadline, and TransportError when the response is too large or the peer
    closes. The end of a connection never counts as the end of a response.
    """

    def __init__(self, connected: socket.socket, tls: ssl.SSLContext | None, host: str) -> None:
        self._stream = _Stream(connected, tls, host)
        self._unsent: list[bytes] = []
        super().__init__(self._stream)

    def start(self, deadline: Deadline, response_bytes_max: int) -> None:
        """Begin a call. The first one over TLS verifies the peer. Raises OSError."""
        self._stream.deadline, self._stream.bytes_left = deadline, response_bytes_max
        self._stream.handshake()

    def sendall(self, data: bytes) -> None:
        """Buffer ``data`` for ``flush_request``, which sends head and body together."""
        self._unsent.append(data)

    def flush_request(self) -> None:
        """Send the buffered request. Raises TimeoutError when the peer does not accept it in time."""
        rest = memoryview(b"".join(self._unsent))
        self._unsent.clear()
        while rest:
            rest = rest[self._stream.send(rest) :]

    def makefile(self, _mode: str) -> Self:
        """The file for reading responses."""
        return self

    def is_fresh(self) -> bool:
        """Whether an idle connection is still usable: not closed by the peer, and without unexpected bytes."""
        self._stream.deadline = None
        try:
            return not self.peek(1)
        except (OSError, TransportError):
            return False

    def close(self) -> None:
        """Do nothing; ``disconnect`` ends the connection.

        ``http.client`` closes its file after each response, and its socket even before a last response is read.
        """

    def disconnect(self) -> None:
        """Close the connection at once."""
        self._stream.endpoint.close()


class _Stream(io.RawIOBase):
    """The bytes under a Wire. Without a deadline it never waits."""

    def __init__(self, connected: socket.socket, tls: ssl.SSLContext | None, host: str) -> None:
        connected.settimeout(0)
        self.deadline: Deadline | None = None
        self.bytes_left = 0  # of the response
        self.endpoint = connected
        self._send: Callable[[memoryview], int] = connected.send
        self._handshake: Callable[[], None] | None = None
        if tls is not None:
            self.endpoint = secure = tls.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
            self._send, self._handshake = secure.write, secure.do_handshake

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        try:
            received = self._step(lambda: self.endpoint.recv_into(buffer), select.POLLIN)
        except BlockingIOError:
            return None
        if not received:
            raise TransportError("the connection was closed before the answer was complete")
        self.bytes_left -= received
        if self.bytes_left < 0 and self.deadline is not None:
            raise TransportError("the answer is too large")
        return received

    def send(self, data: memoryview) -> int:
        return self._step(lambda: self._send(data), select.POLLOUT)

    def handshake(self) -> None:
        if self._handshake is not None:
            self._step(self._handshake, select.POLLIN)
            self._handshake = None

    def _step(self, action: Callable[[], _T], awaited: int) -> _T:
        """Run ``action`` as soon as the socket is ready; return its result."""
        while True:
            left_s = self.deadline.left_s() if self.deadline else 0.0
            try:
                return action()
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            except BlockingIOError:
                event = awaited
            if self.deadline is None:
                raise BlockingIOError
            ready = select.poll()
            ready.register(self.endpoint, event)
            ready.poll(math.ceil(left_s * 1000))


def connect(addresses: Sequence[ResolvedAddress], deadline: Deadline) -> socket.socket:
    """Connect to the first of ``addresses`` that answers. No address may use up all the time.

    Raises the OSError of the last address tried.
    """
    error = OSError("the name has no addresses")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        endpoint = socket.socket(family, kind, protocol)
        try:
            endpoint.settimeout(deadline.left_s() / (len(addresses) - tried))
            endpoint.connect(address)
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as failure:
            endpoint.close()
            error = failure
        except BaseException:  # a killed greenlet must not leak its socket
            endpoint.close()
            raise
        else:
            return endpoint
    raise error
