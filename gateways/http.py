"""The one HTTP transport of the adapters: a total deadline, a bounded answer, and a plain word on what was sent.

HTTP itself is the standard library's ``http.client``. It repeats nothing, follows no redirect, and turns every foreign
error into one of the two of ``domain.outcomes``: NotSentError for whatever happens before the first byte of the request
can have left (name, connect, TLS handshake, no free connection), OutcomeUnknownError for everything after. It knows no
provider, and works in threads and greenlets.
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
from gateways.connection import Address, Deadline, TransportError, Wire, connect

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Headers and body together; a payment answer has a few hundred."""

# Servers commonly drop idle connections after 5 s or more. One that is dropped just while a request is on its way
# makes that request's outcome unknown, so ours are left alone earlier.
IDLE_S_MAX: Final = 4.0

_RESOLVERS: Final = 2
_LENGTH: Final = re.compile(r"[0-9]{1,12}[ \t]*")

FOREIGN_ERRORS: Final = (OSError, HTTPException, ValueError, RuntimeError)
"""All that the network, TLS, name resolution (``UnicodeError`` is a ValueError) and ``http.client`` can raise."""


def translated(name: str, error: Exception, *, sent: bool) -> GatewayError:
    """What ``error`` means for a call to the gateway ``name``; ``sent`` when a byte of the request may have left.

    The network's errors and our own become its cause and lend it their text. Others may quote what was sent or
    received, a card number perhaps: of those nothing but the name of their class is kept.
    """
    text = type(error).__name__
    quotable = error if isinstance(error, OSError | TransportError) else None
    what = getattr(quotable, "strerror", None) or str(quotable or "")
    if what:
        text = f"{text}: {what}"
    meaning = OutcomeUnknownError(f"{name}: sent, then {text}") if sent else NotSentError(f"{name}: not sent, {text}")
    meaning.__cause__ = quotable
    return meaning


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Any case finds a header; ``headers.get_all`` finds one that came several times."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case; empty when the answer names none."""
        types = self.headers.get_all("Content-Type", [])
        return ",".join(each.partition(";")[0].strip().lower() for each in types)


class Connection(HTTPConnection):
    """One kept connection, for one call after the other. Raises OSError, HTTPException, ValueError."""

    auto_open = 0  # never connects by itself: a call has one connection

    def __init__(self, host: str, port: int, wire: Wire) -> None:
        super().__init__(host, port)
        self.sock = self.wire = wire
        self.reusable = False  # whether it may carry another call
        self.idle_since = 0.0  # the pool's

    def prepare(self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline: Deadline) -> None:
        """Write a request that nothing leaves of yet, to a peer that was verified."""
        self.reusable = False
        if not target.startswith("/"):
            raise TransportError("a path that cannot be sent")
        self.wire.start(deadline, ANSWER_BYTES_MAX)
        self.request(method, target, body or None, headers)

    def exchange(self) -> Answer:
        """Send what was prepared and read the answer to it, all of it."""
        self.wire.send_off()
        response = self.getresponse()
        _check_framing(response.status, response.headers)
        body = response.read(ANSWER_BYTES_MAX)  # a bound, so that no announced size is believed and made room for
        self.reusable = not response.will_close
        return Answer(response.status, response.headers, body)


def _check_framing(status: int, headers: HTTPMessage) -> None:
    """Make sure that it is plain where an answer ends: by one length, or by chunks. Raises TransportError.

    ``http.client`` would believe the first of two lengths, and without any take the end of the connection for that
    of the answer.
    """
    lengths, codings = headers.get_all("Content-Length", []), headers.get_all("Transfer-Encoding", [])
    if status < 200:
        raise TransportError("an interim answer")
    if headers.defects:
        raise TransportError("a header line that cannot be read")
    if status in {204, 304} or (not lengths and [coding.lower() for coding in codings] == ["chunked"]):
        return
    if codings or len(lengths) != 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise TransportError("it is not plain where the answer ends")


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
        connection, sent = None, False
        try:
            connection = self._connection(deadline)
            all_headers = {"Host": self._host_header, **headers}
            connection.prepare(method, self._prefix + path, all_headers, body, deadline)
            sent = True
            # A connection that was kept gets no second try: the request may have arrived.
            return connection.exchange()
        except FOREIGN_ERRORS as error:
            failure = translated(self._name, error, sent=sent)
        finally:
            if connection is not None:
                self._keep_or_close(connection)
            self._slots.release()
        raise failure  # here, where it drags along no context that quotes what was sent or received

    def close(self) -> None:
        """Close idle connections; calls under way finish and close theirs, new ones are not sent."""
        self._closed = True
        self._drop_idle()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def _connection(self, deadline: Deadline) -> Connection:
        """A connection that is kept and still good, or else a new one."""
        if self._closed:
            raise TransportError("the gateway is closed")
        oldest = self._clock() - IDLE_S_MAX
        with suppress(IndexError):  # raised when none is left, by this thread or another
            while True:
                connection = self._idle.pop()
                if connection.idle_since > oldest and connection.wire.is_fresh():
                    return connection
                connection.wire.hang_up()
        endpoint = connect(self._addresses(deadline), deadline)
        return Connection(self._host, self._port, Wire(endpoint, self._tls, self._host))

    def _keep_or_close(self, connection: Connection) -> None:
        if not connection.reusable:
            connection.wire.hang_up()
            return
        connection.idle_since = self._clock()
        self._idle.append(connection)
        oldest = connection.idle_since - IDLE_S_MAX
        with suppress(IndexError):
            while self._idle[0].idle_since <= oldest:
                self._idle.popleft().wire.hang_up()
        if self._closed:
            self._drop_idle()

    def _drop_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().wire.hang_up()

    def _addresses(self, deadline: Deadline) -> Sequence[Address]:
        """Where the host is. The system's resolver knows no deadline, so it runs elsewhere and is not waited for."""
        lookup = self._resolvers.submit(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
        try:
            return lookup.result(deadline.left_s())
        except (TimeoutError, CancelledError):
            lookup.cancel()
            raise TimeoutError("no address for the host in time") from None
