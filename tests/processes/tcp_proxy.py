"""A TCP proxy between a service and its database that a test can interrupt and restore."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tests.processes.process import free_port

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 65_536


class Line:
    """Listens on its own port and forwards all bytes to the server of ``url``, unless the connection is cut."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or _HOST, parts.port or 5432)
        self._port = free_port()
        self.url = urlunsplit(parts._replace(netloc=f"{parts.username}@{_HOST}:{self._port}"))
        """The URL of the database through this proxy."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.restore()

    def cut(self) -> None:
        """Refuse new connections and break all open ones."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            _close(listener)
        self.break_off()

    def restore(self) -> None:
        """Accept connections again."""
        listener = socket.create_server((_HOST, self._port))
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def break_off(self) -> None:
        """Break all open connections at once; new ones are accepted unless the line is cut."""
        with self._lock:
            broken, self._open = self._open, set()
        for one in broken:
            _close(one)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server)
        except OSError:
            _close(client)
            return
        with self._lock:
            is_cut = self._listener is None
            if not is_cut:
                self._open |= {client, server}
        if is_cut:
            _close(client)
            _close(server)
            return
        threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
        self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                to.sendall(data)
        with self._lock:
            self._open -= {source, to}
        _close(source)
        _close(to)


@contextmanager
def line_to(url: str) -> Iterator[Line]:
    """A line that is cut at the end of the block."""
    line = Line(url)
    try:
        yield line
    finally:
        line.cut()


def _close(one: socket.socket) -> None:
    """Close a socket, and wake threads that wait for it."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
