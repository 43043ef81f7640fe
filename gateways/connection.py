"""One TCP or TLS connection whose every step keeps to a deadline; knows no HTTP and no provider.

Nothing here relies on a library's own timeouts over several reads, so that a peer that sends a byte a second gains
nothing by it. TLS runs over memory buffers (``SSLObject``) for that reason: the handshake and each record are read
through the same deadline, in plain threads and in greenlets alike.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

_RECEIVE_BYTES: Final = 16 * 1024
_T = TypeVar("_T")

Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Deadline:
    """A point in time on the monotonic clock by which a whole call must be over."""

    __slots__ = ("_at", "_clock")

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def left_s(self) -> float:
        """How many seconds are left, more than 0. Raises TimeoutError when none are."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class Connection:
    """A connected socket. ``idle_since`` belongs to the pool. Every method raises OSError when the network fails."""

    __slots__ = ("_socket", "idle_since")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.idle_since = 0.0

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Hand all of ``data`` to the network. Raises TimeoutError when the peer does not take it in time."""
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(deadline.left_s())
            rest = rest[self._socket.send(rest) :]

    def receive(self, deadline: Deadline) -> bytes:
        """What has arrived, at least a byte; ``b""`` when the peer has closed. Raises TimeoutError."""
        self._socket.settimeout(deadline.left_s())
        return self._socket.recv(_RECEIVE_BYTES)

    def is_fresh(self) -> bool:
        """Whether an idle connection still is one: not closed by the peer, and with nothing unasked-for on it."""
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close at once. Never raises."""
        with contextlib.suppress(OSError):
            self._socket.close()


class TlsConnection(Connection):
    """The same over TLS. The handshake, in which the peer's certificate is verified, is part of making it."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> None:
        super().__init__(connected)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._drive(self._tls.do_handshake, deadline)

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Hand all of ``data``, encrypted, to the network. Raises TimeoutError, ssl.SSLError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._drive(partial(self._tls.write, rest), deadline) :]

    def receive(self, deadline: Deadline) -> bytes:
        """What has arrived, decrypted; ``b""`` when the peer closed properly. Raises TimeoutError, ssl.SSLError."""
        try:
            return self._drive(partial(self._tls.read, _RECEIVE_BYTES), deadline)
        except ssl.SSLZeroReturnError:
            return b""

    def _drive(self, step: Callable[[], _T], deadline: Deadline) -> _T:
        """Take one TLS step, carrying bytes between its buffers and the network for as long as it asks for more."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush(deadline)
            else:
                self._flush(deadline)
                return result
            arrived = super().receive(deadline)
            if arrived:
                self._incoming.write(arrived)
            else:
                self._incoming.write_eof()

    def _flush(self, deadline: Deadline) -> None:
        if self._outgoing.pending:
            super().send(self._outgoing.read(), deadline)


def connect(addresses: Sequence[tuple[int, Address]], deadline: Deadline) -> socket.socket:
    """Connect to the first of ``addresses`` (family, address) that answers; none of them may use up all the time.

    Raises OSError, of the last address that was tried.
    """
    error = OSError("the name has no addresses")
    for tried, (family, address) in enumerate(addresses):
        endpoint = socket.socket(family, socket.SOCK_STREAM)
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
