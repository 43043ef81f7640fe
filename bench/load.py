"""The load: a fixed number of clients in a closed loop, each with one kept connection and one open request.

It uses raw sockets and epoll: a request costs the sender little more than two system calls, so that the two cores serve
the service. The processing of the requests is opaque here.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.clients import connect
from bench.wire import end_of_message, status_of, transaction_id_of

ACCEPTED: Final = 202
_WAIT_S: Final = 1.0
_PARKED_WAIT_S: Final = 0.001
_LAST_ANSWER_S: Final = 15.0
"""Maximum wait for the last answers. The service itself gives up after 10 s."""


@dataclass(slots=True)
class Sample:
    """The clients' observations.

    Times are ``time.perf_counter``; latencies are seconds from request to complete answer.
    """

    began: float = 0.0
    seconds: float = 0.0
    """Duration of sending."""
    in_time: int = 0
    """Answers with status 202 within that duration."""
    accepted: list[str] = field(default_factory=list)
    """The transactions of all 202 answers, including those after that duration."""
    latencies: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    busiest: float = 1.0
    """The busiest worker's share of the connections before they were levelled out."""

    @property
    def rate(self) -> float:
        """Accepted requests per second."""
        return self.in_time / self.seconds


class _Client:
    __slots__ = ("endpoint", "requests", "sent_at", "unread")

    def __init__(self, endpoint: socket.socket, requests: Iterator[bytes]) -> None:
        self.endpoint, self.requests = endpoint, requests
        self.endpoint.settimeout(0)
        self.sent_at = 0.0
        self.unread = b""


class Load:
    """``connections`` clients of ``address``, in equal numbers for each of its ``workers``.

    ``requests`` are endless: one iterator for all, or one for each worker. ``finished`` and ``unfinished_max`` limit
    the deposits that are accepted and not finished. At the limit, clients wait before their next request.
    """

    def __init__(
        self,
        address: tuple[str, int],
        connections: int,
        requests: Sequence[Iterator[bytes]],
        *,
        workers: Sequence[int] = (),
        finished: Callable[[], int] | None = None,
        unfinished_max: int = 0,
    ) -> None:
        self._address, self._connections, self._requests = address, connections, requests
        self._workers = workers
        self._finished, self._unfinished_max = finished, unfinished_max

    def run(self, seconds: float) -> Sample:
        """Send requests for ``seconds``, then wait for the last answers."""
        connections = connect(self._address, self._connections, self._workers)
        clients = {
            endpoint.fileno(): _Client(endpoint, self._requests[owner % len(self._requests)])
            for endpoint, owner in zip(connections.sockets, connections.owners, strict=True)
        }
        try:
            with select.epoll() as poll:
                for descriptor in clients:
                    poll.register(descriptor, select.EPOLLIN)
                sample = self._run(clients, poll, seconds)
                sample.busiest = connections.busiest
                return sample
        finally:
            for client in clients.values():
                client.endpoint.close()

    def _run(self, clients: dict[int, _Client], poll: select.epoll, seconds: float) -> Sample:
        room = self._room_from_now()
        sample = Sample(began=time.perf_counter(), seconds=seconds)
        deadline = sample.began + seconds
        idle, waiting = [*clients.values()], 0
        while (now := time.perf_counter()) < deadline + _LAST_ANSWER_S:
            if now >= deadline:
                if not waiting:
                    break
                idle.clear()
            elif idle:
                free = room(len(sample.accepted) + waiting)
                for client in idle[:free]:
                    self._send(client)
                waiting += len(idle[:free])
                del idle[:free]
            for descriptor, _ in poll.poll(_PARKED_WAIT_S if idle else _WAIT_S):
                client = clients[descriptor]
                answered = self._receive(client, sample, deadline)
                if answered is False:
                    continue
                waiting -= 1
                if answered:
                    idle.append(client)
                else:
                    poll.unregister(descriptor)
        if waiting:
            sample.failed["no answer"] += waiting
        return sample

    def _room_from_now(self) -> Callable[[int], int]:
        """A function from the number of requests sent to the number that may still be sent, counted from now."""
        finished = self._finished
        if finished is None:
            return lambda _sent: self._connections
        before = finished()
        return lambda sent: max(0, self._unfinished_max - sent + finished() - before)

    def _send(self, client: _Client) -> None:
        request = next(client.requests)
        client.sent_at = time.perf_counter()
        if client.endpoint.send(request) != len(request):
            raise OSError("the kernel did not take a small request at once")

    @staticmethod
    def _receive(client: _Client, sample: Sample, deadline: float) -> bool | None:
        """Return True when the answer is complete, False before, and None if this connection will have none."""
        try:
            data = client.endpoint.recv(65536)
        except OSError as error:
            sample.failed[type(error).__name__] += 1
            return None
        if not data:
            sample.failed["closed"] += 1
            return None
        data = client.unread + data if client.unread else data
        if not end_of_message(data):
            client.unread = data
            return False
        now = time.perf_counter()
        client.unread = b""
        if (status := status_of(data)) == ACCEPTED:
            sample.accepted.append(transaction_id_of(data) or "")
            sample.latencies.append(now - client.sent_at)
            sample.in_time += now <= deadline
        else:
            sample.failed[str(status)] += 1
        return True
