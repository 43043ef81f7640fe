"""Common parts of the transport's tests."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateways.http import HttpClient

SHORT_DEADLINE_S = 0.3
# Far above that deadline, for a busy machine; far below the time of the misbehaving peers (30 s).
PATIENCE_S = 5.0
TLS = Path(__file__).parent / "tls"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 600\r\n\r\n" + b"x" * 600

Client = Callable[..., HttpClient]


def post(client: HttpClient) -> int:
    """Send a request with a body; return the status."""
    return client.request("POST", "/deposits", {"Idempotency-Key": "k-1"}, b'{"a": 1}').status


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Resolve every name to 127.0.0.1 with each of ``ports``."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
