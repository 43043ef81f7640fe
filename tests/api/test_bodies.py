"""Sizes, missing parts and unread rests of request bodies, seen from the server's side of WSGI."""

from __future__ import annotations

import io
import json
from typing import Any

import falcon.testing
import pytest

from tests.api.support import BODY, Api
from tests.api.world import World

KIB = 1024
GOOD = json.dumps(BODY).encode()


class Wire(io.RawIOBase):
    """A connection's input: counts what was read, hands it out in small pieces, and may break."""

    def __init__(self, data: bytes, *, piece: int = 1000, error: Exception | None = None) -> None:
        self._data = io.BytesIO(data)
        self._piece = piece
        self._error = error
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        """At most one piece."""
        assert size >= 0, "nobody may read without a bound"
        data = self._data.read(min(size, self._piece))
        self.taken += len(data)
        if not data and size and self._error:
            raise self._error
        return data


def call(api: Api, wire: Wire, path: str = "/v1/deposit", method: str = "POST", **env: Any) -> int:
    """One request as a server would make it; the status."""
    environ = falcon.testing.create_environ(method=method, path=path, headers={"Content-Type": "application/json"})
    environ.update({"wsgi.input": wire, "wsgi.input_terminated": True, **env})
    response = falcon.testing.StartResponseMock()
    list(api.app(environ, response))
    return int(str(response.status).split()[0])


def test_a_body_in_small_pieces_is_put_together(api: Api) -> None:
    """Short reads are not the end of a body."""
    assert call(api, Wire(GOOD, piece=1), CONTENT_LENGTH=str(len(GOOD))) == 202
    assert call(api, Wire(GOOD, piece=7), HTTP_TRANSFER_ENCODING="chunked") == 202


def test_a_body_that_ends_early_is_refused(api: Api, world: World) -> None:
    """A body shorter than announced is malformed even when what came is JSON."""
    assert call(api, Wire(GOOD), CONTENT_LENGTH=str(len(GOOD) + 1)) == 400
    assert world.calls == []


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("bad chunk"), RuntimeError("server's own")])
def test_a_connection_that_breaks_is_no_500(api: Api, world: World, error: Exception) -> None:
    """Every error of the server about a client's bytes is a client error."""
    assert call(api, Wire(GOOD[:20], error=error), CONTENT_LENGTH=str(len(GOOD))) == 400
    assert call(api, Wire(GOOD[:20], error=error), HTTP_TRANSFER_ENCODING="chunked") == 400
    assert call(api, Wire(b"", error=error), path="/nowhere", CONTENT_LENGTH="20") == 404
    assert world.calls == []


def test_a_body_that_takes_too_long(api: Api, world: World) -> None:
    """The server gives up on it: that is a 408 of its own, and nothing is done. A refusal stays what it is."""
    late = Wire(GOOD[:20], error=TimeoutError())
    assert call(api, late, CONTENT_LENGTH=str(len(GOOD))) == 408
    assert call(api, Wire(GOOD[:20], error=TimeoutError()), HTTP_TRANSFER_ENCODING="chunked") == 408
    assert call(api, Wire(GOOD, error=TimeoutError()), path="/v1/callbacks/gatewayA", CONTENT_LENGTH="4000") == 408
    assert call(api, Wire(GOOD[:20], error=TimeoutError()), path="/nowhere", CONTENT_LENGTH="4000") == 404
    assert (world.calls, world.callbacks) == ([], [])


@pytest.mark.parametrize("length", ["-1", "x", "1_0", "1e3", "٣", "9" * 30])
def test_a_length_that_is_none(api: Api, length: str) -> None:
    """A Content-Length that is no number is refused, without reading."""
    wire = Wire(GOOD)
    assert call(api, wire, CONTENT_LENGTH=length) == 400
    assert wire.taken == 0


def test_one_byte_too_many(api: Api, world: World) -> None:
    """Above 64 KiB the answer is 413, whether the length is announced or not."""
    body = GOOD.ljust(64 * KIB + 1)
    announced, chunked = Wire(body), Wire(body)
    assert call(api, announced, CONTENT_LENGTH=str(len(body))) == 413
    assert call(api, chunked, HTTP_TRANSFER_ENCODING="chunked") == 413
    assert (announced.taken, chunked.taken) == (len(body), len(body)), "what is left unread is drained"
    assert world.calls == []


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/v1/deposit", "POST", 413), ("/nowhere", "POST", 404), ("/healthz", "PUT", 405)]
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_early_refusal_drains_a_mebibyte_and_no_more(
    api: Api, path: str, method: str, status: int, framing: str
) -> None:
    """The rest of a refused request is read so that the connection lives on, but not without end.

    Who announces more than that is not waited for: the rest may never come, and the answer is known.
    """
    beyond = 0 if framing == "length" else 1024 * KIB
    for size, drained in ((300 * KIB, 300 * KIB), (1024 * KIB, 1024 * KIB), (3000 * KIB, beyond)):
        wire = Wire(bytes(size), piece=64 * KIB)
        env = {"CONTENT_LENGTH": str(size)} if framing == "length" else {"HTTP_TRANSFER_ENCODING": "chunked"}
        assert call(api, wire, path, method, **env) == status
        # A body of unknown length was read to the limit before it was refused.
        assert drained <= wire.taken <= drained + 64 * KIB + 1


def test_a_refusal_for_another_reason_drains_too(api: Api) -> None:
    """A wrong content type, a query or a key leave nothing unread either."""
    for env in ({"CONTENT_TYPE": "text/plain"}, {"QUERY_STRING": "x=1"}, {"HTTP_IDEMPOTENCY_KEY": ""}):
        wire = Wire(GOOD)
        assert call(api, wire, CONTENT_LENGTH=str(len(GOOD)), **env) in (400, 415)
        assert wire.taken == len(GOOD)


def test_no_body_is_never_waited_for(api: Api) -> None:
    """Without length and without chunks there is no body, and nothing is read."""
    wire = Wire(GOOD)
    assert call(api, wire, CONTENT_LENGTH="") == 400
    assert call(api, wire, path="/nowhere") == 404
    assert wire.taken == 0
