"""Sizes, missing parts and unread remainders of request bodies, at the WSGI interface."""

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
    """A connection's input: it counts the bytes read, returns them in small pieces, and may fail."""

    def __init__(self, data: bytes, *, piece: int = 1000, error: Exception | None = None) -> None:
        self._data = io.BytesIO(data)
        self._piece = piece
        self._error = error
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        """At most one piece."""
        assert size >= 0, "every read has a limit"
        data = self._data.read(min(size, self._piece))
        self.taken += len(data)
        if not data and size and self._error:
            raise self._error
        return data


def call(api: Api, wire: Wire, path: str = "/v1/deposit", method: str = "POST", **env: Any) -> int:
    """Send one request as a server would, and return the status."""
    environ = falcon.testing.create_environ(method=method, path=path, headers={"Content-Type": "application/json"})
    environ.update({"wsgi.input": wire, "wsgi.input_terminated": True, **env})
    response = falcon.testing.StartResponseMock()
    list(api.app(environ, response))
    return int(str(response.status).split()[0])


def test_a_body_in_small_pieces_is_put_together(api: Api) -> None:
    """A short read is not the end of a body."""
    assert call(api, Wire(GOOD, piece=1), CONTENT_LENGTH=str(len(GOOD))) == 202
    assert call(api, Wire(GOOD, piece=7), HTTP_TRANSFER_ENCODING="chunked") == 202


def test_a_body_that_ends_early_is_refused(api: Api, world: World) -> None:
    """A body that is shorter than announced is malformed, even when the received part is valid JSON."""
    assert call(api, Wire(GOOD), CONTENT_LENGTH=str(len(GOOD) + 1)) == 400
    assert world.calls == []


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("bad chunk"), RuntimeError("server's own")])
def test_a_broken_connection_is_not_a_500(api: Api, world: World, error: Exception) -> None:
    """Every error of the server about a client's bytes gets a 4xx."""
    assert call(api, Wire(GOOD[:20], error=error), CONTENT_LENGTH=str(len(GOOD))) == 400
    assert call(api, Wire(GOOD[:20], error=error), HTTP_TRANSFER_ENCODING="chunked") == 400
    assert call(api, Wire(b"", error=error), path="/nowhere", CONTENT_LENGTH="20") == 404
    assert world.calls == []


def test_a_body_that_takes_too_long(api: Api, world: World) -> None:
    """When the server's time limit for a body passes, the answer is 408 and nothing is done.

    Other refusals are unchanged.
    """
    late = Wire(GOOD[:20], error=TimeoutError())
    assert call(api, late, CONTENT_LENGTH=str(len(GOOD))) == 408
    assert call(api, Wire(GOOD[:20], error=TimeoutError()), HTTP_TRANSFER_ENCODING="chunked") == 408
    assert call(api, Wire(GOOD, error=TimeoutError()), path="/v1/callbacks/gatewayA", CONTENT_LENGTH="4000") == 408
    assert call(api, Wire(GOOD[:20], error=TimeoutError()), path="/nowhere", CONTENT_LENGTH="4000") == 404
    assert (world.calls, world.callbacks) == ([], [])


@pytest.mark.parametrize("length", ["-1", "x", "1_0", "1e3", "٣", "9" * 30])
def test_a_content_length_that_is_not_a_number(api: Api, length: str) -> None:
    """A Content-Length that is not a number is refused without reading the body."""
    wire = Wire(GOOD)
    assert call(api, wire, CONTENT_LENGTH=length) == 400
    assert wire.taken == 0


def test_one_byte_too_many(api: Api, world: World) -> None:
    """Above 64 KiB the answer is 413, whether the length is announced or not."""
    body = GOOD.ljust(64 * KIB + 1)
    announced, chunked = Wire(body), Wire(body)
    assert call(api, announced, CONTENT_LENGTH=str(len(body))) == 413
    assert call(api, chunked, HTTP_TRANSFER_ENCODING="chunked") == 413
    assert (announced.taken, chunked.taken) == (len(body), len(body)), "the unread rest is drained"
    assert world.calls == []


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/v1/deposit", "POST", 413), ("/nowhere", "POST", 404), ("/healthz", "PUT", 405)]
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_early_refusal_drains_a_mebibyte_and_no_more(
    api: Api, path: str, method: str, status: int, framing: str
) -> None:
    """The rest of a refused body is read up to a limit, so that the connection can be used again.

    The refusal does not wait for a body that announces more: the rest may never arrive, and the answer is known.
    """
    beyond = 0 if framing == "length" else 1024 * KIB
    for size, drained in ((300 * KIB, 300 * KIB), (1024 * KIB, 1024 * KIB), (3000 * KIB, beyond)):
        wire = Wire(bytes(size), piece=64 * KIB)
        env = {"CONTENT_LENGTH": str(size)} if framing == "length" else {"HTTP_TRANSFER_ENCODING": "chunked"}
        assert call(api, wire, path, method, **env) == status
        # A body of unknown length was read to the limit before it was refused.
        assert drained <= wire.taken <= drained + 64 * KIB + 1


def test_a_refusal_for_another_reason_drains_too(api: Api) -> None:
    """A wrong content type, a query or a wrong key leave nothing unread either."""
    for env in ({"CONTENT_TYPE": "text/plain"}, {"QUERY_STRING": "x=1"}, {"HTTP_IDEMPOTENCY_KEY": ""}):
        wire = Wire(GOOD)
        assert call(api, wire, CONTENT_LENGTH=str(len(GOOD)), **env) in (400, 415)
        assert wire.taken == len(GOOD)


def test_a_missing_body_is_not_waited_for(api: Api) -> None:
    """Without length and without chunks there is no body, and nothing is read."""
    wire = Wire(GOOD)
    assert call(api, wire, CONTENT_LENGTH="") == 400
    assert call(api, wire, path="/nowhere") == 404
    assert wire.taken == 0
