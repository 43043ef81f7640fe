"""The call: its steps in order, and what a failure in each of them means."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from domain.outcomes import NotSentError
from gateways.http.addresses import Resolver, connect
from gateways.http.connection import Connection
from gateways.http.deadlines import Deadline, Deadlines
from gateways.http.errors import FOREIGN_ERRORS, TransportError, translated
from gateways.http.pool import Pool
from gateways.http.request import RequestEncoder
from gateways.http.response import Response


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
        self._name, self._timeout_s = name, timeout_s
        self._host = parts.hostname
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._requests = RequestEncoder(parts.netloc.rpartition("@")[2], parts.path.rstrip("/"))
        self._resolver = Resolver(name, self._host, parts.port or (443 if parts.scheme == "https" else 80))
        self._deadlines = Deadlines(name, timeout_s, clock)
        self._pool = Pool(max_concurrent, clock)
        self._closed = False

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Send one request, once, and read its response, whatever its status.

        Raises only NotSentError, OutcomeUnknownError, and exceptions that kill a thread or greenlet.
        """
        deadline: Deadline | None = None
        connection: Connection | None = None
        has_slot = sent = False
        try:
            if self._closed:
                raise TransportError("the gateway is closed")
            request = self._requests.encode(method, path, headers, body)
            deadline = self._deadlines.begin()
            has_slot = self._pool.acquire(deadline.left_s())
            if not has_slot:
                raise NotSentError(f"{self._name}: not sent, no free connection within {self._timeout_s:g} s")
            connection = self._pool.take() or self._connected(deadline)
            deadline.guard(connection.endpoint)
            connection.start()
            sent = True
            # No second try on a kept connection: the request may have arrived.
            return connection.exchange(request)
        except FOREIGN_ERRORS as error:
            # The error of a connection that the sweep has ended is a consequence.
            cause = TimeoutError("timed out") if connection and deadline and deadline.expired else error
            failure = translated(self._name, cause, sent=sent)
        finally:
            in_time = False
            try:
                in_time = deadline is not None and self._deadlines.end(deadline)
            finally:  # a greenlet may be killed while it waits for the lock of the deadlines
                if has_slot:
                    self._pool.release(connection, usable=in_time)
        raise failure  # outside the except block: no context that quotes what was sent or received

    def close(self) -> None:
        """Close idle connections. Calls in progress finish and close theirs; new calls are not sent."""
        self._closed = True
        self._pool.close()
        self._resolver.close()

    def _connected(self, deadline: Deadline) -> Connection:
        """A new connection, whose peer is not verified yet."""
        return Connection(connect(self._resolver.addresses(deadline), deadline), self._tls, self._host)
