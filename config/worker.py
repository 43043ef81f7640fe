"""The gunicorn worker that leaves nobody behind: gevent's, but for how it lets go of its port.

Nor does it repeat what it could not read: gunicorn's own answers quote the broken line, which may hold a secret.
"""

from __future__ import annotations

from socket import socket
from typing import cast

from gevent.server import StreamServer
from gunicorn import util
from gunicorn.workers import ggevent

_write_error = util.write_error


def _write_bare_error(client: socket, status: int, reason: str, _message: str) -> None:
    """Answer what is no HTTP with status and reason alone."""
    _write_error(client, status, reason, "")


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
        vars(util)["write_error"] = _write_bare_error  # and workers answer broken requests by this one
        self._listeners = {id(one): cast("socket", _Listener(one)) for one in self.sockets}
        super().run()

    def handle(self, listener: socket, client: socket, addr: str | int | tuple[str, int]) -> None:
        """Serve one connection."""
        super().handle(self._listeners[id(listener)], client, addr)
