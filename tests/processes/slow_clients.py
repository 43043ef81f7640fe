"""Slow clients: raw connections that send one byte at intervals, or nothing, and record how they end."""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.processes.installation import HOST
from tests.processes.process import PATIENCE_S

_EVERY_S: Final = 0.1
"""The time between two bytes, far below any deadline."""
_DESCRIPTORS: Final = 4096


@dataclass(eq=False, slots=True)
class Slow:
    """One connection. ``unsent`` is sent slowly; ``answer`` was received. ``ended``: the service has closed it."""

    endpoint: socket.socket
    unsent: bytes = b""
    answer: bytes = b""
    ended: bool = False

    @property
    def status(self) -> int | None:
        """The status of the answer, if there is one."""
        return int(self.answer.split(b" ", 2)[1]) if self.answer else None

    @property
    def closes(self) -> bool:
        """Whether the answer announces that the connection closes."""
        return b"\r\nconnection: close\r\n" in self.answer.lower()


def connect(stack: ExitStack, port: int, count: int, begins: bytes = b"", trickles: bytes = b"") -> list[Slow]:
    """Open ``count`` connections that send ``begins`` at once, and ``trickles`` one byte at a time."""
    slow = []
    for _ in range(count):
        endpoint = stack.enter_context(closing(socket.create_connection((HOST, port), PATIENCE_S)))
        endpoint.sendall(begins)
        endpoint.settimeout(0)
        slow.append(Slow(endpoint, trickles))
    return slow


def trickle_until_ended(clients: Sequence[Slow]) -> None:
    """Continue until the service has closed all of these connections; fail if it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while left := [client for client in clients if not client.ended]:
        assert time.monotonic() < deadline, f"{len(left)} connections are still open"
        step(left)


def step(clients: Iterable[Slow]) -> None:
    """Send one byte on each connection, and read what has arrived."""
    by_descriptor = {client.endpoint.fileno(): client for client in clients if not client.ended}
    poll = select.poll()
    for descriptor, client in by_descriptor.items():
        with suppress(OSError):  # the service has closed it; the read below detects this
            client.endpoint.send(client.unsent[:1])
        client.unsent = client.unsent[1:]
        poll.register(descriptor, select.POLLIN)
    time.sleep(_EVERY_S)
    for descriptor, _ in poll.poll(0):
        client = by_descriptor[descriptor]
        try:
            data = client.endpoint.recv(65536)
        except OSError:
            data = b""
        client.answer += data
        client.ended = not data


def permit_many_descriptors() -> None:
    """Raise the limit for this process and its children; skip the test if the system does not permit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _DESCRIPTORS:
        pytest.skip(f"a process may have only {hard} descriptors here, and this needs {_DESCRIPTORS}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _DESCRIPTORS), hard))


def descriptors(pid: int) -> int:
    """The number of open descriptors of a process (Linux)."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
