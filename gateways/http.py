"""The HTTP transport of all adapters: a total deadline, a bounded response, and certainty about what was sent.

HTTP itself is the standard library's ``http.client``. The transport repeats nothing and follows no redirect. It
translates every foreign error into one of the two of ``domain.outcomes``. NotSentError: before the first byte of the
request can have left (name, connect, TLS handshake, no free connection). OutcomeUnknownError: everything after that.
It works in threads and greenlets.
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
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage
from typing import Final
from urllib.parse import urlsplit

from domain.outcomes import GatewayError, NotSentError, OutcomeUnknownError
from gateways.connection import Deadline, ResolvedAddress, TransportError, Wire, connect

RESPONSE_BYTES_MAX: Final = 64 * 1024
"""Headers and body together; a payment response has a few hundred bytes."""

# Servers commonly close idle connections after 5 s or more. If one closes while a request is on its way, the outcome
# of that request is unknown. So ours are not reused after a shorter time.
IDLE_S_MAX: Final = 4.0

_RESOLVERS: Final = 2
_LENGTH: Final = re.compile(r"[0-9]{1,12}[ \t]*")

FOREIGN_ERRORS: Final = (OSError, HTTPException, ValueError, RuntimeError)
"""The errors of network, TLS, name resolution (``UnicodeError`` is a ValueError) and ``http.client``."""


def translated(name: str, error: Exception, *, sent: bool) -> GatewayError:
    """Translate ``error`` for a call to the gateway ``name``. ``sent``: a byte of the request may have left.

    Errors of the network and of this transport become the cause, and their text is kept. Others may quote what was
    sent or received, such as a card number, so only the name of their class is kept.
    """
    text = type(error).__name__
    quotable = error if isinstance(error, OSError | TransportError) else None
    detail = getattr(quotable, "strerror", None) or str(quotable or "")
    if detail:
        text = f"{text}: {detail}"
    meaning = OutcomeUnknownError(f"{name}: sent, then {text}") if sent else NotSentError(f"{name}: not sent, {text}")
    meaning.__cause__ = quotable
    return meaning


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response. Header names are case-insensitive; ``headers.get_all`` returns repeated headers."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case; empty when there is none."""
        types = self.headers.get_all("Content-Type", [])
        return ",".join(each.partition(";")[0].strip().lower() for each in types)


class ProviderConnection(HTTPConnection):
    """One kept connection, for consecutive calls. Raises OSError, HTTPException, ValueError."""

    auto_open = 0  # never reconnects by itself: a call has one connection

    def __init__(self, host: str, port: int, wire: Wire) -> None:
        super().__init__(host, port)
        self.sock = self.wire = wire
        self.reusable = False  # whether it may carry another call
        self.idle_since = 0.0  # set by the pool

    def prepare(self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline: Deadline) -> None:
        """Verify the peer and buffer a request, without sending any of it."""
        self.reusable = False
        if not target.startswith("/"):
            raise TransportError("a path that cannot be sent")
        self.wire.start(deadline, RESPONSE_BYTES_MAX)
        self.request(method, target, body or None, headers)

    def exchange(self) -> Response:
        """Send the prepared request and read the complete response."""
        self.wire.flush_request()
        response = self.getresponse()
        _check_framing(response.status, response.headers)
        body = response.read(RESPONSE_BYTES_MAX)  # a bound, so that no announced size is allocated
        self.reusable = not response.will_close
        return Response(response.status, response.headers, body)


def _check_framing(status: int, headers: HTTPMessage) -> None:
    """Require an unambiguous end of the response: one length, or chunks. Raises TransportError.

    ``http.client`` would use the first of two lengths, and without any the end of the connection.
    """
    lengths, codings = headers.get_all("Content-Length", []), headers.get_all("Transfer-Encoding", [])
    if status < 200:
        raise TransportError("an interim answer")
    if headers.defects:
        raise TransportError("a header line that cannot be read")
    if status in {204, 304} or (not lengths and [coding.lower() for coding in codings] == ["chunked"]):
        return
    if codings or len(lengths) != 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise TransportError("the end of the answer is ambiguous")


class HttpClient:
    """Calls to one provider at ``url`` over at most ``max_concurrent`` kept connections. Thread-safe.

    ``timeout_s`` is the total time of a call: waiting for a free connection, name, connect, TLS, sending, and the last
    byte of the response. ``tls`` replaces the system's trusted certificates. Raises ValueError for an invalid ``url``.
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
        self._slots = threading.BoundedSemaphore(max_concurrent)
        self._idle: deque[ProviderConnection] = deque()  # the newest is at the right
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix=f"resolve-{name}")
        self._closed = False

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Send one request, once, and read its response, whatever its status.

        Raises only NotSentError, OutcomeUnknownError, and exceptions that kill a thread or greenlet.
        """
        deadline = Deadline(self._clock, self._timeout_s)
        if not self._slots.acquire(timeout=self._timeout_s):
            raise NotSentError(f"{self._name}: not sent, no free connection within {self._timeout_s:g} s")
        connection, sent = None, False
        try:
            connection = self._connection(deadline)
            all_headers = {"Host": self._host_header, **headers}
            connection.prepare(method, self._prefix + path, all_headers, body, deadline)
            sent = True
            # No second try on a kept connection: the request may have arrived.
            return connection.exchange()
        except FOREIGN_ERRORS as error:
            failure = translated(self._name, error, sent=sent)
        finally:
            if connection is not None:
                self._keep_or_close(connection)
            self._slots.release()
        raise failure  # outside the except block: no context that quotes what was sent or received

    def close(self) -> None:
        """Close idle connections. Calls in progress finish and close theirs; new calls are not sent."""
        self._closed = True
        self._drop_idle()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def _connection(self, deadline: Deadline) -> ProviderConnection:
        """A kept connection that is still usable, or a new one."""
        if self._closed:
            raise TransportError("the gateway is closed")
        oldest = self._clock() - IDLE_S_MAX
        with suppress(IndexError):  # raised when none is left; other threads take from it, too
            while True:
                connection = self._idle.pop()
                if connection.idle_since > oldest and connection.wire.is_fresh():
                    return connection
                connection.wire.disconnect()
        endpoint = connect(self._addresses(deadline), deadline)
        return ProviderConnection(self._host, self._port, Wire(endpoint, self._tls, self._host))

    def _keep_or_close(self, connection: ProviderConnection) -> None:
        if not connection.reusable:
            connection.wire.disconnect()
            return
        connection.idle_since = self._clock()
        self._idle.append(connection)
        oldest = connection.idle_since - IDLE_S_MAX
        with suppress(IndexError):
            while self._idle[0].idle_since <= oldest:
                self._idle.popleft().wire.disconnect()
        if self._closed:
            self._drop_idle()

    def _drop_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().wire.disconnect()

    def _addresses(self, deadline: Deadline) -> Sequence[ResolvedAddress]:
        """Resolve the host. The system's resolver has no deadline, so it runs on a thread that is not awaited."""
        lookup = self._resolvers.submit(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
        try:
            return lookup.result(deadline.left_s())
        except (TimeoutError, CancelledError):
            lookup.cancel()
            raise TimeoutError("no address for the host in time") from None
