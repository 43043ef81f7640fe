"""A gunicorn worker with graceful drain and deadlines.

It extends gevent's worker. It accepts waiting clients before it closes its port. Its connections have deadlines
(``server.connections``), unreadable requests get a problem document (``server.unreadable``), ``server.requests`` reads
requests, and ``server.responses`` sends responses.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from http.client import responses
from socket import socket
from typing import Final, Protocol, TypeAlias, cast

import gevent
from gevent.server import StreamServer
from gunicorn.http.message import Request
from gunicorn.workers import ggevent

from server import requests
from server.connections import ClientConnection, ConnectionPool
from server.heads import Head
from server.unreadable import refusal_of

_Address: TypeAlias = str | int | tuple[str, int]

IDLE_S: Final = 5
"""How long a connection may be idle when gunicorn keeps none, and how long a draining worker waits for idle ones."""
REQUEST_MAX_S: Final = 10.0
"""Longest time for the head of a request, and again for its body."""
_SOFT_LIMIT: Final = 0.9
"""Share of ``worker_connections``. The rest is for connections that evict others while these still close."""


class _Application(Protocol):
    """The application that the worker serves."""

    def unreadable(self, status: int, detail: str) -> tuple[str, str, bytes]:
        """Return the request id, media type and body of the response to an unreadable request."""


class _Server(StreamServer):
    """A server that accepts all clients in the kernel's queue before it closes, because they would be reset."""

    def close(self) -> None:
        """Accept all connected clients, then close the port."""
        while not self.closed and not self.full() and (connected := self.do_read()):
            self.do_handle(*connected)
        super().close()


class _Listener:
    """The name of a listening socket, which connections need also after the socket was closed."""

    def __init__(self, listening: socket) -> None:
        self._name: object = listening.getsockname()

    def getsockname(self) -> object:
        """The address that the socket is, or was, bound to."""
        return self._name


class Worker(ggevent.GeventWorker):
    """See the module. ``request_s`` may be set before it runs."""

    request_s = REQUEST_MAX_S

    def run(self) -> None:
        """Serve until a signal to stop, then finish the requests in flight."""
        vars(ggevent)["StreamServer"] = _Server  # GeventWorker.run makes its servers by this name
        requests.install()
        # As plain attributes: gunicorn calls a function for each use of an option, 20 for a request.
        vars(self.cfg).update({name: option.get() for name, option in self.cfg.settings.items()})
        self._listeners = {id(one): cast("socket", _Listener(one)) for one in self.sockets}
        self._pool = ConnectionPool(int(self.worker_connections * _SOFT_LIMIT))
        super().run()

    @property
    def connections(self) -> int:
        """The number of open connections; 0 before it runs."""
        return len(self._pool) if hasattr(self, "_pool") else 0

    def start_drain(self) -> None:
        """Wait for clients as long as for idle ones, then read from none of them any more. Blocks."""
        gevent.sleep(min(self.cfg.keepalive or IDLE_S, IDLE_S))
        self._pool.stop_reading()

    def notify(self) -> None:
        """Send the heartbeat to the master, and end or evict connections; called every second."""
        super().notify()
        self._pool.end_idle()
        self._pool.evict()

    def handle(self, listener: socket, client: socket, addr: _Address) -> None:
        """Serve one connection."""
        with ClientConnection(
            client, self._pool, idle_s=self.cfg.keepalive or IDLE_S, request_s=self.request_s
        ) as connection:
            super().handle(self._listeners[id(listener)], cast("socket", connection), addr)

    def handle_request(self, listener_name: _Address, req: Request, sock: socket, addr: _Address) -> bool:
        """Serve one request, whose head is complete. Raises StopIteration when its connection is not kept."""
        connection = cast("ClientConnection", sock)
        head = cast("Head", req)
        connection.repeated_headers, connection.underscored_headers = head.repeated, head.underscored
        if self._pool.over_limit:
            req.force_close()
        connection.expect_body(req.force_close)
        kept = super().handle_request(listener_name, req, sock, addr)
        connection.await_head()
        # Without this, a client whose next request has always arrived already would keep the worker to itself: a
        # response without any wait, such as a refusal, does not switch greenlets.
        gevent.sleep(0)
        return kept

    def timeout_ctx(self) -> AbstractContextManager[None]:  # type: ignore[override]  # it is a context there, too
        """Return no timeout for heads: connections have their own deadlines."""
        return nullcontext()

    def handle_error(self, req: Request | None, client: socket, addr: _Address, exc: BaseException) -> None:
        """Answer an unreadable request with a problem document. Neither response nor log quotes any of it.

        Other errors are defects of the application, which gunicorn handles.
        """
        refusal = refusal_of(exc)
        if refusal is None:
            super().handle_error(req, client, addr, exc)
            return
        status, detail = refusal
        request_id, media_type, body = cast("_Application", self.wsgi).unreadable(status, detail)
        self.log.info("no HTTP request: %s", type(exc).__name__, extra={"fields": {"correlation_id": request_id}})
        head = (
            f"HTTP/1.1 {status} {responses[status]}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # the client may have left
            client.sendall(head.encode() + body)
