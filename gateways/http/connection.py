"""One TCP or TLS connection to a provider. Its operations block; the deadline of the call ends them."""

from __future__ import annotations

import select
import socket
import ssl
from typing import Final

from gevent.monkey import get_original

from gateways.http.errors import TransportError
from gateways.http.response import Response, read_response

_READ_BYTES: Final = 8192
_Poll: Final = get_original("select", "poll")
"""The system's poll. It is asked without any wait, so it blocks no greenlet."""


class Connection:
    """A connected socket for consecutive calls. ``tls``: speak TLS with ``host``. Owns ``connected``."""

    __slots__ = ("_arrived", "_is_new", "endpoint", "idle_since", "reusable")

    def __init__(self, connected: socket.socket, tls: ssl.SSLContext | None, host: str) -> None:
        self.endpoint = connected
        self._is_new = True
        self.reusable = False
        """Whether its last response was complete, and it may carry another call."""
        self.idle_since = 0.0  # set by the pool
        if tls is not None:
            try:
                self.endpoint = tls.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
            except BaseException:
                connected.close()
                raise
        self._arrived = _Poll()
        self._arrived.register(self.endpoint, select.POLLIN)

    def start(self) -> None:
        """Verify the peer of a new connection. Raises OSError, and TransportError when the peer sent something."""
        if not self._is_new:
            return
        self._is_new = False
        if isinstance(self.endpoint, ssl.SSLSocket):
            self.endpoint.do_handshake()
        if not self.is_fresh():
            raise TransportError("the peer closed the connection, or sent bytes before the request")

    def is_fresh(self) -> bool:
        """Whether it is still usable: not closed by the peer, and without bytes that nothing asked for."""
        if not (self._arrived.poll(0) or (isinstance(self.endpoint, ssl.SSLSocket) and self.endpoint.pending())):
            return True  # nearly always
        # What arrived may belong to TLS itself, such as a session ticket.
        self.endpoint.settimeout(0)
        try:
            self.endpoint.recv(1)  # either result, the end or a byte, makes it unusable
        except (BlockingIOError, ssl.SSLWantReadError):
            self.endpoint.settimeout(None)
            return True
        except OSError:
            pass
        return False

    def exchange(self, request: bytes) -> Response:
        """Send ``request`` and read the complete response. Raises OSError, TransportError."""
        sent = self.endpoint.send(request)
        if sent < len(request):
            self._send_all(memoryview(request)[sent:])
        response, self.reusable = read_response(self._receive)
        return response

    def close(self) -> None:
        """Close the connection at once."""
        self.endpoint.close()

    def _send_all(self, rest: memoryview) -> None:
        while rest:
            rest = rest[self.endpoint.send(rest) :]

    def _receive(self) -> bytes:
        data = self.endpoint.recv(_READ_BYTES)
        if not data:
            raise TransportError("the connection was closed before the answer was complete")
        return data
