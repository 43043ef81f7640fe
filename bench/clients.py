"""The clients' connections, as many to each worker of a server.

The workers of one gunicorn accept from one socket, and whichever is quicker gets a connection, which it then keeps.
One worker may so get most of them. Proxies that open connections all the time even that out; a few clients that keep
theirs would measure the luck of their first moment instead of the server.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bench import machine

_ACCEPTED_WITHIN_S: Final = 5.0
_SPREAD_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.002
_BURST_MIN: Final = 8


class Connections(NamedTuple):
    """Open connections, which worker has each, and what share the busiest one took before they were evened out."""

    sockets: list[socket.socket]
    owners: list[int]
    """The worker's place among those that were given."""
    busiest: float


def connect(address: tuple[str, int], count: int, workers: Sequence[int]) -> Connections:
    """``count`` connections to ``address``, the same number to each of the processes ``workers``, or one more.

    More are opened, and closed again, until it is so. No workers: wherever they come. Raises OSError.
    """
    if len(workers) < 2:
        return Connections([_connect(address) for _ in range(count)], [0] * count, 1.0)
    open_to = {pid: count // len(workers) + (number < count % len(workers)) for number, pid in enumerate(workers)}
    kept: list[socket.socket] = []
    kept_by: list[int] = []
    busiest, deadline = 0.0, time.monotonic() + _SPREAD_WITHIN_S
    while len(kept) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"a worker takes no connections: {open_to} are missing, by process")
        new = [_connect(address) for _ in range(max(_BURST_MIN, count - len(kept)))]
        owners = _owners(address, new, workers)
        busiest = busiest or max(Counter(owners).values()) / len(new)
        for endpoint, owner in zip(new, owners, strict=True):
            if open_to[owner]:
                open_to[owner] -= 1
                kept.append(endpoint)
                kept_by.append(workers.index(owner))
            else:
                endpoint.close()
    return Connections(kept, kept_by, busiest)


def _connect(address: tuple[str, int]) -> socket.socket:
    endpoint = socket.create_connection(address)
    endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return endpoint


def _owners(address: tuple[str, int], endpoints: Iterable[socket.socket], workers: Sequence[int]) -> list[int]:
    """Which worker has accepted each; waits until all are."""
    ports = [endpoint.getsockname()[1] for endpoint in endpoints]
    deadline = time.monotonic() + _ACCEPTED_WITHIN_S
    while True:
        accepted = machine.accepted(address[1], workers)
        if accepted.keys() >= set(ports):
            return [accepted[port] for port in ports]
        if time.monotonic() > deadline:
            raise TimeoutError("connections are not accepted")
        time.sleep(_POLL_S)
