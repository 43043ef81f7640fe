"""The gunicorn worker that leaves nobody behind: gevent's, but for how it lets go of its port.

Nor does it repeat what it could not read: gunicorn's own answers quote the broken line, which may hold a secret.
"""

from __future__ import annotations

from contextlib import suppress
from http.client import responses
from socket import socket
from typing import Final, Protocol, cast

from gevent.server import StreamServer
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.workers import ggevent

_UNREADABLE: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (errors.LimitRequestLine, 414, "The request line is too long."),
    (errors.LimitRequestHeaders, 431, "The headers are too many or too long."),
    (errors.ExpectationFailed, 417, "No expectation is known but 100-continue."),
    (errors.UnsupportedTransferCoding, 415, "Send the body without a Transfer-Encoding, or chunked."),
    (errors.InvalidHeader, 400, "A header cannot be read."),
    (errors.InvalidHeaderName, 400, "A header cannot be read."),
    (errors.ParseException, 400, "It cannot be read as an HTTP request."),
)
"""What gunicorn finds in what clients send, the first that fits: the status, and what the client is told."""
_OF_ANSWERS: Final = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)  # type: ignore[attr-defined]  # since 27
"""Of the same kinds, but about headers of the application's own."""


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
    """See the module."""

    def run(self) -> None:
        """Serve until told to stop, then finish what was begun."""
        vars(ggevent)["StreamServer"] = _Server  # GeventWorker.run makes its servers by this name
        self._listeners = {id(one): cast("socket", _Listener(one)) for one in self.sockets}
        super().run()

    def handle(self, listener: socket, client: socket, addr: str | int | tuple[str, int]) -> None:
        """Serve one connection."""
        super().handle(self._listeners[id(listener)], client, addr)

    def handle_error(
        self, req: Request | None, client: socket, addr: str | int | tuple[str, int], exc: BaseException
    ) -> None:
        """Answer what is no HTTP as the application answers what is wrong; neither answer nor log repeats any of it.

        Anything else is the application's fault, and as gunicorn does it.
        """
        found = next((it for it in _UNREADABLE if isinstance(exc, it[0])), None)
        if found is None or isinstance(exc, _OF_ANSWERS):
            super().handle_error(req, client, addr, exc)
            return
        _, status, detail = found
        request_id, media_type, body = cast("_Application", self.wsgi).unreadable(status, detail)
        self.log.info("no HTTP request: %s", type(exc).__name__, extra={"fields": {"correlation_id": request_id}})
        head = (
            f"HTTP/1.1 {status} {responses[status]}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # it may be gone
            client.sendall(head.encode() + body)
