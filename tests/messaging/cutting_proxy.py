"""A TCP proxy before a broker, which a test cuts, closes and opens again."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final


class CuttingProxy:
    """Listens on 127.0.0.1 and passes all bytes to ``server`` and back, until it is cut.

    With ``tls`` clients must connect over TLS.
    """

    def __init__(self, server: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        self.server, self.tls = server, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: Final[int] = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self.is_open = True
        self._accepted = self._held = 0
        self.on_request: Callable[[bytes], None] = lambda _: None
        """Called before bytes of a client are passed on."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cut all connections."""
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def hold_answers(self) -> None:
        """Drop what the server answers on the present connections."""
        self._held = self._accepted

    def go_away(self) -> None:
        """Cut all connections and refuse new ones."""
        self.is_open = False
        self.cut()

    def come_back(self) -> None:
        """Accept connections again."""
        self.is_open = True

    def close(self) -> None:
        """Close everything."""
        self.go_away()
        self._listener.close()

    def _is_away(self) -> bool:
        return not self.is_open

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.is_open:
                    client.close()
                    continue
                if self.tls is not None:
                    try:
                        client = self.tls.wrap_socket(client, server_side=True)
                    except OSError:  # the client refuses the certificate
                        client.close()
                        continue
                try:
                    server = socket.create_connection(self.server)
                except OSError:  # the server is away
                    client.close()
                    continue
                self._sockets += [client, server]
                self._accepted += 1
                if self._is_away():  # since the connection was accepted
                    self.cut()
                    continue
                for pair in ((client, server, 0), (server, client, self._accepted)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers_of: int) -> None:
        """Pass bytes on. ``answers_of``: the number of the connection; 0 for its requests."""
        with suppress(OSError):
            while data := source.recv(65_536):
                if not answers_of:
                    self.on_request(data)
                    target.sendall(data)
                elif answers_of > self._held:
                    target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
