"""A gunicorn worker with graceful drain and deadlines.

It extends gevent's worker: it closes its port in another way, its connections have deadlines (``server.connections``),
unreadable requests get a problem document (``server.unreadable``), and ``server.heads`` parses heads.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from http.client import responses
from socket import socket
from typing import Final, Protocol, TypeAlias, cast

import gevent
from gevent.server import StreamServer
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers import ggevent

from server.connections import Connection, ConnectionPool
from server.heads import Head
from server.unreadable import told_of

_Address: TypeAlias = str | int | tuple[str, int]

IDLE_S: Final = 5
"""How long a connection may be idle where gunicorn keeps none, and how long a stopping worker waits for idle ones."""
REQUEST_MAX_S: Final = 10.0
"""How long a request's head may take at the most, and then its body."""
_CROWDED: Final = 0.9
"""Of ``worker_connections``. The rest is room for those who displace others while these are still on their way out."""


class _Application(Protocol):
    """What the worker serves."""

    def unreadable(self, status: int, detail: str) -> tuple[str, str, bytes]:
        """The id, media type and body of the answer to what never became a request."""


class _Server(StreamServer):
    """Takes in whoever the kernel has let in before it closes: what stands in that queue then would be reset."""

    def close(self) -> None:
        """Stop accepting, after all who are connected."""
        while not self.closed and not self.full() and (connected := self.do_read()):
            self.do_handle(*connected)
        super().close()


class _Listener:
    """What a connection asks of the socket that it came by, also after that was closed."""

    def __init__(self, listening: socket) -> None:
        self._name: object = listening.getsockname()

    def getsockname(self) -> object:
        """The address that the socket is, or was, bound to."""
        return self._name


class Worker(ggevent.GeventWorker):
    """See the module. ``request_s`` may be set before it runs."""

    request_s = REQUEST_MAX_S

    def run(self) -> None:
        """Serve until told to stop, then finish what was begun."""
        vars(ggevent)["StreamServer"] = _Server  # GeventWorker.run makes its servers by this name
        RequestParser.mesg_class = Head
        self._listeners = {id(one): cast("socket", _Listener(one)) for one in self.sockets}
        self._crowd = ConnectionPool(int(self.worker_connections * _CROWDED))
        super().run()

    @property
    def connections(self) -> int:
        """How many are open; 0 before it runs."""
        return len(self._crowd) if hasattr(self, "_crowd") else 0

    def start_drain(self) -> None:
        """While it stops, give clients as long for the rest of a request as idle ones have, and no longer. Blocks."""
        gevent.sleep(min(self.cfg.keepalive or IDLE_S, IDLE_S))
        self._crowd.cut()

    def notify(self) -> None:
        """Say that the worker's loop turns; called every second."""
        super().notify()
        self._crowd.evict()

    def handle(self, listener: socket, client: socket, addr: _Address) -> None:
        """Serve one connection."""
        with Connection(
            client, self._crowd, idle_s=self.cfg.keepalive or IDLE_S, request_s=self.request_s
        ) as connection:
            super().handle(self._listeners[id(listener)], cast("socket", connection), addr)

    def handle_request(self, listener_name: _Address, req: Request, sock: socket, addr: _Address) -> bool:
        """Serve one request, whose head is complete. Raises StopIteration when its connection is not kept."""
        connection = cast("Connection", sock)
        head = cast("Head", req)
        connection.repeated_headers, connection.underscored_headers = head.repeated, head.underscored
        if self._crowd.crowded:
            req.force_close()
        connection.expect_body(req.force_close)
        kept = super().handle_request(listener_name, req, sock, addr)
        connection.await_head()
        # A client whose next request is always there already would have the worker to itself: nothing else of what is
        # answered without waiting, such as refusals, lets others have their turn.
        gevent.sleep(0)
        return kept

    def timeout_ctx(self) -> AbstractContextManager[None]:  # type: ignore[override]  # it is a context there, too
        """What gunicorn reads a head within: nothing, since the connection has its own deadlines."""
        return nullcontext()

    def handle_error(self, req: Request | None, client: socket, addr: _Address, exc: BaseException) -> None:
        """Answer what is no HTTP as the application answers what is wrong; neither answer nor log repeats any of it.

        Anything else is the application's fault, and as gunicorn does it.
        """
        told = told_of(exc)
        if told is None:
            super().handle_error(req, client, addr, exc)
            return
        status, detail = told
        request_id, media_type, body = cast("_Application", self.wsgi).unreadable(status, detail)
        self.log.info("no HTTP request: %s", type(exc).__name__, extra={"fields": {"correlation_id": request_id}})
        head = (
            f"HTTP/1.1 {status} {responses[status]}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # it may be gone
            client.sendall(head.encode() + body)
