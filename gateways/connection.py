"""One TCP or TLS connection, posing as the socket of ``http.client``, every step of it bounded in time and size.

It knows no provider. Its socket never blocks: it is tried, and waited for no longer than the call's deadline leaves.
A time limit of the socket's own would start anew with each read, under TLS in greenlets even with each packet, and so
never end for a peer that sends a byte a second.
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

Address = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""What ``getaddrinfo`` finds."""


class TransportError(HTTPException):
    """What the transport itself objects to. The text repeats nothing of what was sent or received."""


class Deadline:
    """A point in time on the monotonic clock by which a whole call must be over."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def left_s(self) -> float:
        """How many seconds are left, more than 0. Raises TimeoutError when none are."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class Wire(io.BufferedReader):
    """A connected socket and the one file on it, for one call after the other; ``tls`` has it speak TLS with ``host``.

    Bytes beyond an answer stay in sight here; a file of its own for each answer would lose them. Reading raises
    OSError when the network fails, TimeoutError at the deadline, and TransportError when the answer grows too large
    or the peer closes: the end of a connection is never taken for the end of an answer.
    """

    def __init__(self, connected: socket.socket, tls: ssl.SSLContext | None, host: str) -> None:
        self._stream = _Stream(connected, tls, host)
        self._unsent: list[bytes] = []
        super().__init__(self._stream)

    def start(self, deadline: Deadline, answer_bytes_max: int) -> None:
        """Begin a call; for the first one over TLS, verify the peer. Raises OSError."""
        self._stream.deadline, self._stream.room = deadline, answer_bytes_max
        self._stream.shake_hands()

    def sendall(self, data: bytes) -> None:
        """Keep ``data`` for ``send_off``: nothing leaves before all is there, and then head and body together."""
        self._unsent.append(data)

    def send_off(self) -> None:
        """Hand all that was kept to the network. Raises TimeoutError when the peer does not take it in time."""
        rest = memoryview(b"".join(self._unsent))
        self._unsent.clear()
        while rest:
            rest = rest[self._stream.send(rest) :]

    def makefile(self, _mode: str) -> Self:
        """The file to read answers from."""
        return self

    def is_fresh(self) -> bool:
        """Whether an idle connection still is one: not closed by the peer, and with nothing unasked-for on it."""
        self._stream.deadline = None
        try:
            return not self.peek(1)
        except (OSError, TransportError):
            return False

    def close(self) -> None:
        """Do nothing; ``hang_up`` ends the connection.

        ``http.client`` closes its file after each answer, and its socket even before a last answer has been read.
        """

    def hang_up(self) -> None:
        """Close the connection at once."""
        self._stream.endpoint.close()


class _Stream(io.RawIOBase):
    """The bytes under a Wire. Without a deadline nothing is waited for."""

    def __init__(self, connected: socket.socket, tls: ssl.SSLContext | None, host: str) -> None:
        connected.settimeout(0)
        self.deadline: Deadline | None = None
        self.room = 0  # how many bytes of the answer may still come
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
            raise TransportError("the connection was closed before the answer was whole")
        self.room -= received
        if self.room < 0 and self.deadline is not None:
            raise TransportError("the answer is too large")
        return received

    def send(self, data: memoryview) -> int:
        return self._step(lambda: self._send(data), select.POLLOUT)

    def shake_hands(self) -> None:
        if self._handshake is not None:
            self._step(self._handshake, select.POLLIN)
            self._handshake = None

    def _step(self, action: Callable[[], _T], awaited: int) -> _T:
        """What ``action`` returns as soon as the socket lets it."""
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


def connect(addresses: Sequence[Address], deadline: Deadline) -> socket.socket:
    """Connect to the first of ``addresses`` that answers; none of them may use up all the time.

    Raises OSError, of the last address that was tried.
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
        except BaseException:  # a greenlet that is killed must not leave its socket behind
            endpoint.close()
            raise
        else:
            return endpoint
    raise error
