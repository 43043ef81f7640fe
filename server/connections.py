"""Client connections of a worker: deadlines for requests and responses, and eviction when there are too many.

It works on sockets and clocks. Of HTTP it assumes only that a request has a head and may have a body.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from socket import SHUT_RD, SHUT_RDWR, socket
from typing import Final, Self

TAKE_WITHIN_S: Final = 10.0
"""A client that does not take a piece of a response for this long, with the kernel's buffer full, is disconnected."""
PIECE_BYTES: Final = 64 * 1024
EVICTED_AFTER_S: Final = 1.0
"""A connection that was waited for less is not evicted: an honest client needs a moment to send its request."""


class ConnectionPool:
    """All connections of a worker. Above ``soft_limit`` of them each new one evicts another.

    The connection that the worker has waited for the longest is evicted: it is idle, slow with a head or body, or slow
    to take a response. Its client can connect again, while a client in the kernel's queue would get no response at all.
    """

    def __init__(self, soft_limit: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._soft_limit, self._monotonic = soft_limit, monotonic
        self._all: set[ClientConnection] = set()
        self._awaited: dict[ClientConnection, float] = {}  # since when; the longest wait is first
        self.evicted = 0
        """The number of evictions so far."""

    def __len__(self) -> int:
        """The number of open connections."""
        return len(self._all)

    @property
    def over_limit(self) -> bool:
        """Whether connections should be closed after their response, to make room for waiting clients."""
        return len(self._all) > self._soft_limit

    def add(self, connection: ClientConnection) -> None:
        """Record an open connection; evict another one above the limit."""
        self._all.add(connection)
        if self.over_limit:
            self._evict_longest()

    def evict(self) -> None:
        """Evict connections down to the limit. Must be called regularly: a full worker accepts no new connection."""
        for _ in range(len(self._all) - self._soft_limit):
            if not self._evict_longest():
                return

    def _evict_longest(self) -> bool:
        longest = next(iter(self._awaited), None)
        if longest is None or self._monotonic() - self._awaited[longest] < EVICTED_AFTER_S:
            return False
        self.end_wait(longest)
        longest.drop()
        self.evicted += 1
        return True

    def end_idle(self) -> None:
        """End the connections whose next head has not begun in time. Must be called regularly."""
        now = self._monotonic()
        for connection, since in [*self._awaited.items()]:
            connection.end_if_idle(now - since)

    def remove(self, connection: ClientConnection) -> None:
        """Record a closed connection."""
        self._all.discard(connection)
        self.end_wait(connection)

    def begin_wait(self, connection: ClientConnection) -> None:
        """Record that the worker waits for the client from now on."""
        self._awaited[connection] = self._monotonic()

    def end_wait(self, connection: ClientConnection) -> None:
        """Record that the worker does not wait for the client any more."""
        self._awaited.pop(connection, None)

    def stop_reading(self) -> None:
        """Wait for no client any longer; see ``ClientConnection.stop_reading``."""
        for connection in self._all:
            connection.stop_reading()


class ClientConnection:
    """A client's socket with deadlines. What it does not define is passed on to the socket.

    The head of a request must begin within ``idle_s`` and be complete ``request_s`` later. Its body must be complete
    ``request_s`` after the first read of it, however slowly its bytes arrive. A late head ends the connection, as if
    the client had left. A late body raises TimeoutError, and the connection is not kept.

    The pool enforces ``idle_s`` (``ConnectionPool.end_idle``), because a timer for each request would cost more than
    the read itself. The other deadlines rarely need a second read, and are timers.
    """

    def __init__(self, client: socket, pool: ConnectionPool, *, idle_s: float, request_s: float) -> None:
        self._socket, self._pool = client, pool
        self._idle_s, self._request_s = idle_s, request_s
        self._not_kept: Callable[[], None] | None = None
        """Called when the connection cannot be kept; set while a body may arrive."""
        self._began = False
        """Whether bytes of the present head have arrived."""
        self._deadline: float | None = None
        self._reading_stopped = self._sending = False
        self.repeated_headers: frozenset[str] = frozenset()
        """Names of the repeated headers of the present request; the worker sets them."""
        self.underscored_headers: frozenset[str] = frozenset()
        """Names, with hyphens, of the headers of the present request that were spelled with underscores."""

    def __enter__(self) -> Self:
        self._pool.add(self)
        self.await_head()
        return self

    def __exit__(self, *_error: object) -> None:
        self._not_kept = None  # breaks a reference cycle with the request
        self._pool.remove(self)

    def __getattr__(self, name: str) -> object:
        found: object = getattr(self._socket, name)
        return found

    def await_head(self) -> None:
        """Expect the next request from now on."""
        self._not_kept, self._began, self._deadline = None, False, None
        self._pool.begin_wait(self)

    def expect_body(self, not_kept: Callable[[], None]) -> None:
        """Record that the head is complete. ``not_kept`` is called when the body is late."""
        self._not_kept, self._deadline = not_kept, None
        self._pool.end_wait(self)

    def end_if_idle(self, waited_s: float) -> None:
        """Stop reading if it was waited for that long, and the next head has not begun."""
        if self._not_kept is None and not self._began and waited_s >= self._idle_s:
            self.stop_reading()

    def stop_reading(self) -> None:
        """Read only what has arrived already. Responses are still sent."""
        self._reading_stopped = True
        with suppress(OSError):  # the client has left
            self._socket.shutdown(SHUT_RD)

    def drop(self) -> None:
        """Stop reading, and abort a response that the client is slow to take."""
        self.stop_reading()
        if self._sending:
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)

    def recv(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end of the connection, or when a head is late.

        Raises TimeoutError when a body is late.
        """
        if self._not_kept is None and not self._began:
            data = self._received(size, None)
            self._began, self._deadline = True, time.monotonic() + self._request_s
            return data or b""
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._request_s
            self._pool.begin_wait(self)
        if now < self._deadline and (data := self._received(size, self._deadline - now)) is not None:
            return data
        if self._not_kept is None:
            return b""
        self._not_kept()
        raise TimeoutError("the body took too long")

    def _received(self, size: int, within_s: float | None) -> bytes | None:
        """Return what arrives within that time; None when nothing does, or when reading was stopped."""
        self._socket.settimeout(within_s)
        try:
            data = self._socket.recv(size)
        except TimeoutError:
            return None
        except OSError:  # gevent ends a wait in this way when reading is stopped
            if not self._reading_stopped:
                raise
            return None
        return None if self._reading_stopped and not data else data

    def send(self, data: bytes) -> int:
        """Send all of ``data``, and return its length. Raises like ``sendall``."""
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``. Raises ConnectionResetError when the client does not take a piece of it in time."""
        sent = self._sent_at_once(data)
        if sent == len(data):
            return
        self._sending = True
        self._pool.begin_wait(self)
        self._socket.settimeout(TAKE_WITHIN_S)
        rest = memoryview(data)[sent:]
        try:
            for start in range(0, len(rest), PIECE_BYTES):
                self._socket.sendall(rest[start : start + PIECE_BYTES])
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not take its response") from None
        finally:
            self._sending = False
            self._pool.end_wait(self)

    def _sent_at_once(self, data: bytes) -> int:
        """Send what fits into the kernel's buffer, nearly always all of it, and return its length."""
        self._socket.settimeout(0)
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
