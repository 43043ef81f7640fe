"""Responses of the simulated providers: correct, none, slow, garbled, or a closed connection."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import falcon

from gateways.simulator.faults import FaultInjection
from gateways.simulator.rows import Behaviour

SOCKET: Final = "simulator.socket"
"""The key of a call's socket in its WSGI environment."""

BODY_BYTES_MAX: Final = 64 * 1024

_SILENCE_S_MAX: Final = 30.0
_GARBAGE: Final = b'\x00\xff{"transaction_id": <<<'


class Call:
    """One call of a provider's route. ``drop_response`` closes the connection in place of any response."""

    def __init__(self, req: falcon.Request, resp: falcon.Response, *, drop_response: bool) -> None:
        self._req, self._resp, self._drop_response = req, resp, drop_response

    def respond(self, status: int, media_type: str, body: bytes) -> None:
        """Respond correctly."""
        self.respond_as(Behaviour.ANSWER, media_type, body, status)

    def respond_as(self, behaviour: Behaviour, media_type: str, body: bytes, status: int = 200) -> None:
        """Respond with ``body`` in the way of ``behaviour``."""
        resp = self._resp
        resp.status, resp.content_type = str(status), media_type
        match Behaviour.CLOSE if self._drop_response else behaviour:
            case Behaviour.ANSWER:
                resp.data = body
            case Behaviour.ERROR:
                resp.status, resp.data = "500", b'{"error": "internal"}'
            case Behaviour.UNAVAILABLE:
                resp.status, resp.data = "503", b'{"error": "unavailable"}'
            case Behaviour.GARBAGE:
                resp.data = _GARBAGE
            case Behaviour.DRIP:
                resp.set_stream(_drip(body), len(body))
            case Behaviour.SILENCE:
                self._disconnect(after_s=_SILENCE_S_MAX)
            case Behaviour.CLOSE:
                self._disconnect()

    def _disconnect(self, after_s: float = 0.0) -> None:
        """Close without a response when the client has closed, or after ``after_s`` seconds."""
        connection: socket.socket = self._req.env[SOCKET]
        with suppress(OSError):
            if after_s:
                connection.settimeout(after_s)
                connection.recv(1, socket.MSG_PEEK)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # discards what the server still writes


class BehaviourGate:
    """Applies the injected faults to calls, and counts the calls."""

    def __init__(self, faults: FaultInjection, gateways: Iterable[str]) -> None:
        self._faults = faults
        self.calls = Counter(dict.fromkeys(gateways, 0))

    def admit(self, gateway: str, req: falcon.Request, resp: falcon.Response) -> Call | None:
        """Register a call of ``gateway``. None: a fault has already answered it, and it must have no effect."""
        self.calls[gateway] += 1
        faults, hits = self._faults.of(gateway), self._faults.hits
        call = Call(req, resp, drop_response=hits(faults.unknown))
        if faults.latency_s:
            time.sleep(faults.latency_s)
        if hits(faults.outage) or hits(faults.refuse):
            call.respond_as(Behaviour.CLOSE, "", b"")
            return None
        if hits(faults.error):
            call.respond_as(Behaviour.ERROR, "application/json", b"")
            return None
        return call


def read_body(req: falcon.Request) -> bytes:
    """Read the request's body; empty when the client closed early or sends more than BODY_BYTES_MAX."""
    try:
        body = req.bounded_stream.read(BODY_BYTES_MAX + 1)
    except OSError:
        return b""
    return body if len(body) <= BODY_BYTES_MAX else b""


def _drip(body: bytes) -> Iterator[bytes]:
    for index in range(len(body)):
        time.sleep(1.0)
        yield body[index : index + 1]
