"""Name resolution and connecting. Both may take no longer than the call has left."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Final

from gateways.http.deadlines import Deadline

ResolvedAddress = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""One result of ``getaddrinfo``."""

_THREADS: Final = 2


class Resolver:
    """Resolves the host of one client. The system's resolver has no deadline, so it runs on threads of its own."""

    def __init__(self, name: str, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"resolve-{name}")

    def addresses(self, deadline: Deadline) -> Sequence[ResolvedAddress]:
        """The addresses of the host. Raises OSError, UnicodeError, and RuntimeError once closed."""
        lookup = self._threads.submit(socket.getaddrinfo, self._host, self._port, type=socket.SOCK_STREAM)
        try:
            return lookup.result(deadline.left_s())
        except (TimeoutError, CancelledError):
            lookup.cancel()
            raise TimeoutError("no address for the host in time") from None

    def close(self) -> None:
        """Start no new lookup; those in progress are not awaited."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def connect(addresses: Sequence[ResolvedAddress], deadline: Deadline) -> socket.socket:
    """Connect to the first of ``addresses`` that answers. No address may use up all the time.

    Returns a blocking socket. Raises the OSError of the last address tried.
    """
    error = OSError("the name has no addresses")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        try:
            endpoint = socket.socket(family, kind, protocol)
        except OSError as failure:  # such as an IPv6 address on a host without IPv6
            error = failure
            continue
        try:
            endpoint.settimeout(deadline.left_s() / (len(addresses) - tried))
            endpoint.connect(address)
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            endpoint.settimeout(None)
        except OSError as failure:
            endpoint.close()
            error = failure
        except BaseException:  # a killed greenlet must not leak its socket
            endpoint.close()
            raise
        else:
            return endpoint
    raise error
