"""Takes a call, and answers as the simulated provider wants to be seen: honest, silent, slow, garbled, not there."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import falcon

from gateways.simulator.faults import FaultBook
from gateways.simulator.rows import Face

SOCKET: Final = "simulator.socket"
"""Where the server puts a call's socket into its environment."""

BODY_BYTES_MAX: Final = 64 * 1024

_SILENCE_S_MAX: Final = 30.0
_GARBAGE: Final = b'\x00\xff{"transaction_id": <<<'


class Call:
    """One call of a provider's route."""

    def __init__(self, req: falcon.Request, resp: falcon.Response, *, unheard: bool) -> None:
        self._req, self._resp, self._unheard = req, resp, unheard

    def say(self, status: int, media_type: str, body: bytes) -> None:
        """Answer plainly."""
        self.show(Face.ANSWER, media_type, body, status)

    def show(self, face: Face, media_type: str, body: bytes, status: int = 200) -> None:
        """Answer with ``body``, or rather with what ``face`` makes of it."""
        resp = self._resp
        resp.status, resp.content_type = str(status), media_type
        match Face.CLOSE if self._unheard else face:
            case Face.ANSWER:
                resp.data = body
            case Face.ERROR:
                resp.status, resp.data = "500", b'{"error": "internal"}'
            case Face.UNAVAILABLE:
                resp.status, resp.data = "503", b'{"error": "unavailable"}'
            case Face.GARBAGE:
                resp.data = _GARBAGE
            case Face.DRIP:
                resp.set_stream(_drip(body), len(body))
            case Face.SILENCE:
                self._hang_up(after_s=_SILENCE_S_MAX)
            case Face.CLOSE:
                self._hang_up()

    def _hang_up(self, after_s: float = 0.0) -> None:
        """Close without an answer, once the client has gone or ``after_s`` have passed."""
        connection: socket.socket = self._req.env[SOCKET]
        with suppress(OSError):
            if after_s:
                connection.settimeout(after_s)
                connection.recv(1, socket.MSG_PEEK)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # what the server still writes goes nowhere


class Faces:
    """Lets calls meet the ordered faults before and after their own fate, and counts them."""

    def __init__(self, faults: FaultBook, gateways: Iterable[str]) -> None:
        self._faults = faults
        self.calls = Counter(dict.fromkeys(gateways, 0))

    def meet(self, gateway: str, req: falcon.Request, resp: falcon.Response) -> Call | None:
        """A call of ``gateway`` has come; None when a fault has already dealt with it and nothing must be done."""
        self.calls[gateway] += 1
        faults, hits = self._faults.of(gateway), self._faults.hits
        call = Call(req, resp, unheard=hits(faults.unknown))
        if faults.latency_s:
            time.sleep(faults.latency_s)
        if hits(faults.outage) or hits(faults.refuse):
            call.show(Face.CLOSE, "", b"")
            return None
        if hits(faults.error):
            call.show(Face.ERROR, "application/json", b"")
            return None
        return call


def read_body(req: falcon.Request) -> bytes:
    """The request's body; nothing when the client went away in the middle or sends more than BODY_BYTES_MAX."""
    try:
        body = req.bounded_stream.read(BODY_BYTES_MAX + 1)
    except OSError:
        return b""
    return body if len(body) <= BODY_BYTES_MAX else b""


def _drip(body: bytes) -> Iterator[bytes]:
    for index in range(len(body)):
        time.sleep(1.0)
        yield body[index : index + 1]
