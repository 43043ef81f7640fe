"""The clients' connections, in equal numbers to each worker of a server.

The workers of one gunicorn accept from one socket. The quicker worker gets a connection and keeps it, so one worker can
get most of them. Proxies that open connections all the time level this out. A few clients with kept connections would
measure the chance of their first moment, not the server.
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
    """Open connections, the worker of each, and the busiest worker's share before they were levelled out."""

    sockets: list[socket.socket]
    owners: list[int]
    """The index of each connection's worker among the given workers."""
    busiest: float


def connect(address: tuple[str, int], count: int, workers: Sequence[int]) -> Connections:
    """Open ``count`` connections to ``address``, equally many to each of the processes ``workers``, or one more.

    It opens more connections and closes the excess ones until the numbers are equal. Without workers the distribution
    is arbitrary. Raises OSError.
    """
    if len(workers) < 2:
        return Connections([_connect(address) for _ in range(count)], [0] * count, 1.0)
    missing = {pid: count // len(workers) + (number < count % len(workers)) for number, pid in enumerate(workers)}
    kept: list[socket.socket] = []
    kept_owners: list[int] = []
    busiest, deadline = 0.0, time.monotonic() + _SPREAD_WITHIN_S
    while len(kept) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"a worker accepts no connections: {missing} are missing, by process")
        new = [_connect(address) for _ in range(max(_BURST_MIN, count - len(kept)))]
        owners = _owners(address, new, workers)
        busiest = busiest or max(Counter(owners).values()) / len(new)
        for endpoint, owner in zip(new, owners, strict=True):
            if missing[owner]:
                missing[owner] -= 1
                kept.append(endpoint)
                kept_owners.append(workers.index(owner))
            else:
                endpoint.close()
    return Connections(kept, kept_owners, busiest)


def _connect(address: tuple[str, int]) -> socket.socket:
    endpoint = socket.create_connection(address)
    endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return endpoint


def _owners(address: tuple[str, int], endpoints: Iterable[socket.socket], workers: Sequence[int]) -> list[int]:
    """The worker that accepted each connection. Waits until all are accepted."""
    ports = [endpoint.getsockname()[1] for endpoint in endpoints]
    deadline = time.monotonic() + _ACCEPTED_WITHIN_S
    while True:
        accepted = machine.accepted(address[1], workers)
        if accepted.keys() >= set(ports):
            return [accepted[port] for port in ports]
        if time.monotonic() > deadline:
            raise TimeoutError("connections are not accepted")
        time.sleep(_POLL_S)
