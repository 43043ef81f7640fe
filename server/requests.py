"""The requests of a connection: ordinary ones are read by ``server.ordinary``, all others by gunicorn's parser.

gunicorn's worker makes its parser, environments and responses by names in its modules; ``install`` replaces them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import gunicorn.http
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from server.heads import NONE, Head
from server.ordinary import Limits, OrdinaryHead, read_head
from server.responses import OneSendResponse

if TYPE_CHECKING:
    from socket import socket

    from gunicorn.http.unreader import Unreader

_Address: TypeAlias = str | int | tuple[str, int]


class OrdinaryRequest(Head):
    """A request that ``server.ordinary`` accepted, with what gunicorn asks of one."""

    repeated = underscored = NONE

    def __init__(self, head: OrdinaryHead, environ: dict[str, Any]) -> None:  # its head has been read already
        self.method, self.uri, self.path, self.query = head.method, head.uri, head.path, head.query
        self.version, self.fragment, self.must_close = (1, 1), "", not head.keeps
        self.environ = environ
        self.proxy_protocol_info = None
        self.arrived = True
        """Whether the whole body has been read from the connection."""

    def take_body(self, data: bytes, head: OrdinaryHead, unreader: Unreader) -> None:
        """Take the body from ``data``, the bytes that were read, or have it read from the connection later."""
        end = head.end + head.length
        self.arrived = len(data) >= end
        unread = data[end:] if self.arrived else data[head.end :]
        if unread:
            unreader.unread(unread)
        body = BytesIO(data[head.end : end]) if self.arrived else Body(LengthReader(unreader, head.length))
        self.environ["wsgi.input"] = body
        self.body = cast("Body", body)

    def should_close(self) -> bool:
        """Whether the connection ends with the response."""
        return self.must_close


class Parser(RequestParser):
    """Reads the requests of one connection."""

    mesg_class = Head

    def __init__(self, cfg: Config, source: socket, source_addr: _Address) -> None:
        super().__init__(cfg, source, source_addr)
        self._limits = Limits.of(cfg)
        self._constant = _constant_environ(cfg, source, source_addr)

    def __next__(self) -> Request:
        """The next request. Raises StopIteration at the end of the connection."""
        constant, last = self._constant, self.mesg
        if constant is None:
            return super().__next__()
        if last is not None:
            if last.should_close() or not (getattr(last, "arrived", False) or self._finished()):
                raise StopIteration
            self.mesg = None
        data = self.unreader.read()
        if not data:
            raise StopIteration
        environ = constant.copy()
        head = read_head(data, environ, self._limits)
        if head is None:
            self.unreader.unread(data)
            return super().__next__()
        self.req_count += 1
        self.mesg = request = OrdinaryRequest(head, environ)
        request.take_body(data, head, self.unreader)
        return request

    def _finished(self) -> bool:
        """Discard the rest of the last body. False when the start of the next request is unknown."""
        finished: object = self.finish_body()  # type: ignore[func-returns-value]  # it does, since 27
        return finished is True


def _constant_environ(cfg: Config, source: socket, address: _Address) -> dict[str, Any] | None:
    """The part of the environment that all ordinary requests of a connection share.

    None for a connection whose requests are all left to gunicorn.
    """
    if not isinstance(address, tuple) or os.environ.get("SCRIPT_NAME"):
        return None
    return {
        **wsgi.base_environ(cfg),
        "gunicorn.socket": source,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "REMOTE_ADDR": address[0],
        "REMOTE_PORT": str(address[1]),
        "wsgi.url_scheme": "https" if cfg.is_ssl else "http",
    }


gunicorn_create: Final = wsgi.create
_early_hints: Final[Callable[..., object]] = vars(wsgi)["_make_early_hints_callback"]


def create(
    request: Request, connection: socket, client: _Address, server: _Address, cfg: Config
) -> tuple[wsgi.Response, MutableMapping[str, Any]]:
    """The response and the environment of a request, as gunicorn's function of this name makes them."""
    if not isinstance(request, OrdinaryRequest):
        return gunicorn_create(request, connection, client, server, cfg, response_class=OneSendResponse)
    response = OneSendResponse(request, connection, cfg)
    environ, name = request.environ, cast("tuple[str, int]", server)
    environ["SERVER_NAME"], environ["SERVER_PORT"] = name[0], str(name[1])
    environ["wsgi.early_hints"] = _early_hints(request, connection, response)
    return response, environ


def install() -> None:
    """Have gunicorn's worker use this module."""
    vars(gunicorn.http)["RequestParser"] = Parser
    vars(wsgi)["create"] = create
