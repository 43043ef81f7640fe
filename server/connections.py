"""The connections of a worker: how long each may take to send a request and to take an answer, and who goes first.

It knows sockets and clocks, and nothing of HTTP but that a request has a head and perhaps a body.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from socket import SHUT_RD, SHUT_RDWR, socket
from typing import Final, Self

TAKE_WITHIN_S: Final = 10.0
"""How long a client may take for a piece of an answer, once the kernel's buffer is full. Then it is disconnected."""
PIECE_BYTES: Final = 64 * 1024
DISPLACED_AFTER_S: Final = 1.0
"""Nobody is displaced who was waited for more briefly: an honest client needs a moment to send what it came for."""


class ConnectionPool:
    """All connections of a worker. Above ``crowded_at`` it is crowded, and whoever comes displaces another.

    That is who has been waited for the longest, and for a while: idle, slow with a head or body, or slow to take an
    answer. A client that is waited for loses a connection that it can make anew; one that waits outside, in the
    kernel's queue, would get no answer at all.
    """

    def __init__(self, crowded_at: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._crowded_at, self._monotonic = crowded_at, monotonic
        self._all: set[Connection] = set()
        self._awaited: dict[Connection, float] = {}  # a dictionary keeps the order: who began first stands first
        self.displaced = 0
        """How many had to make room so far."""

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._all)

    @property
    def crowded(self) -> bool:
        """Whether connections ought to be closed after their answer, for those who wait to be let in."""
        return len(self._all) > self._crowded_at

    def enter(self, connection: Connection) -> None:
        """One more is open."""
        self._all.add(connection)
        if self.crowded:
            self._displace()

    def evict(self) -> None:
        """Displace as many as are too many. For when the worker is full, so that nobody enters; to be called often."""
        for _ in range(len(self._all) - self._crowded_at):
            if not self._displace():
                return

    def _displace(self) -> bool:
        longest = next(iter(self._awaited), None)
        if longest is None or self._monotonic() - self._awaited[longest] < DISPLACED_AFTER_S:
            return False
        self.go_on(longest)
        longest.drop()
        self.displaced += 1
        return True

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._all.discard(connection)
        self.go_on(connection)

    def wait_for(self, connection: Connection) -> None:
        """From now on its client is waited for."""
        self._awaited[connection] = self._monotonic()

    def go_on(self, connection: Connection) -> None:
        """Its client is not waited for any more."""
        self._awaited.pop(connection, None)

    def cut(self) -> None:
        """Read from no client any longer, whether it is waited for now or not."""
        for connection in self._all:
            connection.cut()


class Connection:
    """A client's socket that honours deadlines. What it does not define is the socket's own.

    Of a request, its head must begin within ``idle_s`` and be complete ``request_s`` after that, and its body must
    come within ``request_s`` again, from when it is first read: in total, however many bytes trickle in. A head that
    is late is the end of the connection, as if the client had left. A body that is late raises TimeoutError, and the
    connection is not kept.
    """

    def __init__(self, client: socket, crowd: ConnectionPool, *, idle_s: float, request_s: float) -> None:
        self._socket, self._crowd = client, crowd
        self._idle_s, self._request_s = idle_s, request_s
        self._not_kept: Callable[[], None] | None = None
        """Says that the connection is not kept; there is one while a body may come."""
        self._began = False
        """Whether something of the present head is there."""
        self._deadline: float | None = None
        self._cut = self._sending = False
        self.repeated_headers: frozenset[str] = frozenset()
        """Names of the present request's repeated headers; the worker sets them."""
        self.underscored_headers: frozenset[str] = frozenset()
        """Names, with hyphens, of the present request's headers that were spelled with underscores."""

    def __enter__(self) -> Self:
        self._crowd.enter(self)
        self.await_head()
        return self

    def __exit__(self, *_error: object) -> None:
        self._not_kept = None  # it knows the request, which knows its connection
        self._crowd.leave(self)

    def __getattr__(self, name: str) -> object:
        found: object = getattr(self._socket, name)
        return found

    def await_head(self) -> None:
        """From now on the next request may come."""
        self._not_kept, self._began, self._deadline = None, False, None
        self._crowd.wait_for(self)

    def expect_body(self, not_kept: Callable[[], None]) -> None:
        """The head is complete. ``not_kept`` is called when the body is late."""
        self._not_kept, self._deadline = not_kept, None
        self._crowd.go_on(self)

    def cut(self) -> None:
        """Wait for the client no longer: nothing more is read than what is there already. Answers still go out."""
        self._cut = True
        with suppress(OSError):  # the client has left
            self._socket.shutdown(SHUT_RD)

    def drop(self) -> None:
        """The same, and an answer that the client is slow to take ends there."""
        self.cut()
        if self._sending:
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end of the connection, and when a head is late.

        Raises TimeoutError when a body is late.
        """
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + (self._idle_s if self._not_kept is None else self._request_s)
            if self._not_kept is not None:
                self._crowd.wait_for(self)
        if now < self._deadline and (data := self._received(size, self._deadline - now)) is not None:
            if self._not_kept is None and not self._began:
                self._began, self._deadline = True, time.monotonic() + self._request_s
            return data
        if self._not_kept is None:
            return b""
        self._not_kept()
        raise TimeoutError("the body took too long")

    def _received(self, size: int, within_s: float) -> bytes | None:
        """What comes within that time; None when nothing does, or nobody waits for it any longer."""
        self._socket.settimeout(within_s)
        try:
            data = self._socket.recv(size)
        except TimeoutError:
            return None
        except OSError:  # so gevent ends a wait that is cut
            if not self._cut:
                raise
            return None
        return None if self._cut and not data else data

    def send(self, data: bytes) -> int:
        """The same as ``sendall``; the length of ``data``."""
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``. Raises ConnectionResetError when the client does not take a piece of it in time."""
        sent = self._sent_at_once(data)
        if sent == len(data):
            return
        self._sending = True
        self._crowd.wait_for(self)
        self._socket.settimeout(TAKE_WITHIN_S)
        rest = memoryview(data)[sent:]
        try:
            for start in range(0, len(rest), PIECE_BYTES):
                self._socket.sendall(rest[start : start + PIECE_BYTES])
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not take its answer") from None
        finally:
            self._sending = False
            self._crowd.go_on(self)

    def _sent_at_once(self, data: bytes) -> int:
        """How much the kernel has room for, which nearly always is all."""
        self._socket.settimeout(0)
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
