"""The one HTTP transport of the adapters: a total deadline, a bounded answer, and a plain word on what was sent.

It knows no provider. It repeats nothing, follows no redirect, and turns every foreign error into one of the two of
``domain.outcomes``: NotSentError for whatever happens before the first byte of the request can have left (name,
connect, TLS handshake, no free connection), OutcomeUnknownError for everything after. Works in threads and greenlets.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from domain.outcomes import GatewayError, NotSentError, OutcomeUnknownError
from gateways.connection import Address, Connection, Deadline, TlsConnection, connect
from gateways.http_answer import Answer, AnswerReader

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Headers and body together; a payment answer has a few hundred."""

# Servers commonly drop idle connections after 5 s or more. One that is dropped just while a request is on its way
# makes that request's outcome unknown, so ours are left alone earlier.
IDLE_S_MAX: Final = 4.0

_RESOLVERS: Final = 2
_TARGET: Final = re.compile(r"/[!-~]*")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")

FOREIGN_ERRORS: Final = (OSError, ValueError, RuntimeError)
"""All that the network, TLS, name resolution (``UnicodeError`` is a ValueError) and reading an answer can raise."""


def translated(name: str, error: Exception, *, sent: bool) -> GatewayError:
    """What ``error`` means for a call to the gateway ``name``; ``sent`` when a byte of the request may have left."""
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = f"{type(error).__name__}: {what}" if what else type(error).__name__
    if sent:
        return OutcomeUnknownError(f"{name}: sent, then {text}")
    return NotSentError(f"{name}: not sent, {text}")


class HttpClient:
    """Calls to one provider at ``url`` over at most ``max_concurrent`` kept connections. Safe to share among threads.

    ``timeout_s`` is the total of a call: waiting for a free connection, name, connect, TLS, sending and the last byte
    of the answer. ``tls`` replaces the system's trust in certificates. Raises ValueError for an unusable ``url``.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout_s: float,
        max_concurrent: int,
        clock: Callable[[], float] = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("not an http or https URL")
        self._name, self._timeout_s, self._clock = name, timeout_s, clock
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._host_header = parts.netloc.rpartition("@")[2]
        self._fixed_addresses = _numeric(self._host, self._port)
        self._slots = threading.BoundedSemaphore(max_concurrent)
        self._idle: deque[Connection] = deque()  # the newest is at the right
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix=f"resolve-{name}")
        self._closed = False

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send one request, once, and read its answer, whatever its status.

        Raises NotSentError, OutcomeUnknownError, and nothing else but what kills a thread or greenlet.
        """
        deadline = Deadline(self._clock, self._timeout_s)
        if not self._slots.acquire(timeout=self._timeout_s):
            raise NotSentError(f"{self._name}: not sent, no free connection within {self._timeout_s:g} s")
        try:
            try:
                message = self._message(method, path, headers, body)
                connection = self._connection(deadline)
            except FOREIGN_ERRORS as error:
                raise translated(self._name, error, sent=False) from error
            return self._exchange(connection, message, deadline)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close idle connections; calls under way finish and close theirs, new ones are not sent."""
        self._closed = True
        self._drop_idle()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def _exchange(self, connection: Connection, message: bytes, deadline: Deadline) -> Answer:
        """One request and its answer. A connection that was kept gets no second try: the request may have arrived."""
        reader = AnswerReader(ANSWER_BYTES_MAX)
        try:
            connection.send(message, deadline)
            while not reader.feed(connection.receive(deadline)):
                pass
        except FOREIGN_ERRORS as error:
            raise translated(self._name, error, sent=True) from error
        finally:
            if reader.reusable:
                self._keep(connection)
            else:
                connection.close()
        assert reader.answer is not None  # feed() said that it is whole
        return reader.answer

    def _message(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        target = self._prefix + path
        if _TARGET.fullmatch(target) is None:
            raise ValueError("a path that cannot be sent")
        lines = [f"{method} {target} HTTP/1.1\r\nHost: {self._host_header}\r\n"]
        for name, value in headers.items():
            if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
                raise ValueError("a header that cannot be sent")
            lines.append(f"{name}: {value}\r\n")
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("ascii") + body

    def _connection(self, deadline: Deadline) -> Connection:
        """A connection that is kept and still good, or else a new one."""
        if self._closed:
            raise RuntimeError("the gateway is closed")
        oldest = self._clock() - IDLE_S_MAX
        with suppress(IndexError):  # raised when none is left, by this thread or another
            while True:
                connection = self._idle.pop()
                if connection.idle_since > oldest and connection.is_fresh():
                    return connection
                connection.close()
        endpoint = connect(self._addresses(deadline), deadline)
        try:
            if self._tls is None:
                return Connection(endpoint)
            return TlsConnection(endpoint, self._tls, self._host, deadline)
        except BaseException:
            endpoint.close()
            raise

    def _keep(self, connection: Connection) -> None:
        connection.idle_since = self._clock()
        self._idle.append(connection)
        oldest = connection.idle_since - IDLE_S_MAX
        with suppress(IndexError):
            while self._idle[0].idle_since <= oldest:
                self._idle.popleft().close()
        if self._closed:
            self._drop_idle()

    def _drop_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _addresses(self, deadline: Deadline) -> Sequence[tuple[int, Address]]:
        """Where the host is. The system's resolver knows no deadline, so it runs elsewhere and is not waited for."""
        if self._fixed_addresses:
            return self._fixed_addresses
        lookup = self._resolvers.submit(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
        try:
            found = lookup.result(deadline.left_s())
        except (TimeoutError, CancelledError):
            lookup.cancel()
            raise TimeoutError("no address for the host in time") from None
        return [(family, address) for family, _, _, _, address in found]


def _numeric(host: str, port: int) -> Sequence[tuple[int, Address]]:
    """The address that ``host`` itself is; none when it is a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return ()
    return [(socket.AF_INET6 if address.version == 6 else socket.AF_INET, (host, port))]
