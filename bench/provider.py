"""A payment provider that answers at once and at very low cost: gatewayA's side of the wire, in one process.

It answers "success" to every deposit and stores the references. So lookups get the true state, and repeated references
are counted. Its counters are in a file that the bench reads without a request.

Run as ``python -m bench.provider LISTENING_DESCRIPTOR COUNTERS_FILE``.
"""

from __future__ import annotations

import mmap
import select
import socket
import struct
import sys
from pathlib import Path
from typing import Final

from bench.wire import answer, end_of_message, looked_up, reference_of

COUNTERS: Final = struct.Struct("<QQ")
"""Answered submissions, and different references among them."""

_NOT_FOUND: Final = answer(b"404 Not Found", b'{"error": "not_found"}')
_BAD_REQUEST: Final = answer(b"400 Bad Request", b'{"error": "bad_request"}')


class Counters:
    """The file of the counters: the provider writes it, and the bench reads it."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), COUNTERS.size)

    @staticmethod
    def create(path: Path) -> Counters:
        """Create the file with counters of zero."""
        path.write_bytes(bytes(COUNTERS.size))
        return Counters(path)

    def write(self, answered: int, different: int) -> None:
        """Write both counters."""
        COUNTERS.pack_into(self._map, 0, answered, different)

    def read(self) -> tuple[int, int]:
        """Read both counters."""
        answered, different = COUNTERS.unpack_from(self._map)
        return answered, different


class Provider:
    """The provider's state."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._references: set[bytes] = set()
        self._answered = 0

    def reply(self, request: bytes) -> bytes:
        """The answer to one complete request."""
        reference = reference_of(request)
        if reference is not None:
            self._references.add(reference)
            self._answered += 1
            self._counters.write(self._answered, len(self._references))
            return _success(reference)
        wanted = looked_up(request)
        if wanted is None:
            return _BAD_REQUEST
        return _success(wanted) if wanted in self._references else _NOT_FOUND


def _success(reference: bytes) -> bytes:
    return answer(b"200 OK", b'{"transaction_id": "A-%b", "status": "success"}' % reference)


def serve(listener: socket.socket, provider: Provider) -> None:
    """Serve until the process is killed."""
    listener.settimeout(0)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    unread: dict[int, bytes] = {}
    while True:
        for descriptor, _ in poll.poll():
            client = clients.get(descriptor)
            if client is None:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.settimeout(0)
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
                continue
            try:
                data = client.recv(65536)
            except OSError:
                data = b""
            if not data:
                poll.unregister(client)
                del clients[descriptor]
                unread.pop(descriptor, None)
                client.close()
                continue
            if descriptor in unread:
                data = unread.pop(descriptor) + data
            while end := end_of_message(data):
                client.send(provider.reply(data[:end]))
                data = data[end:]
            if data:
                unread[descriptor] = data


def main(descriptor: str, counters: str) -> None:
    """Run as a separate process."""
    serve(socket.socket(fileno=int(descriptor)), Provider(Counters(Path(counters))))


if __name__ == "__main__":
    main(*sys.argv[1:])
