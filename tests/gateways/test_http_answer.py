"""The reader of HTTP answers: a table of what it takes, one of what it refuses, and a comparison with http.client."""

from __future__ import annotations

import http.client
import io
import socket
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.http_answer import Answer, AnswerError, AnswerReader

BYTES_MAX = 4096
OK = b"HTTP/1.1 200 OK\r\n"


def read(*pieces: bytes) -> AnswerReader:
    """Feed ``pieces`` one after the other; ``b""`` is the end of the connection."""
    reader = AnswerReader(BYTES_MAX)
    for piece in pieces:
        if reader.feed(piece):
            return reader
    return reader


def whole(reader: AnswerReader) -> Answer:
    """The answer that ``reader`` must have."""
    assert reader.answer is not None
    return reader.answer


@pytest.mark.parametrize(
    ("pieces", "status", "body", "reusable"),
    [
        pytest.param([OK + b"Content-Length: 2\r\n\r\nhi"], 200, b"hi", True, id="length"),
        pytest.param([OK + b"Content-Length: 2, 2\r\n\r\nhi"], 200, b"hi", True, id="the same length twice in one"),
        pytest.param([OK + b"Content-Length: 0\r\n\r\n"], 200, b"", True, id="empty body"),
        pytest.param([OK + b"Content-Length: 2\r\nConnection: x, Close\r\n\r\nhi"], 200, b"hi", False, id="close"),
        pytest.param([OK + b"Content-Length: 2\r\n\r\nhi!"], 200, b"hi", False, id="a byte too many"),
        pytest.param([b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"], 200, b"hi", False, id="HTTP/1.0"),
        pytest.param([OK + b"\r\nhi", b""], 200, b"hi", False, id="until the connection ends"),
        pytest.param([b"HTTP/1.1 204 \r\n\r\n"], 204, b"", True, id="no content"),
        pytest.param([b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n"], 503, b"", True, id="no reason"),
        pytest.param(
            [b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi"],
            200,
            b"hi",
            True,
            id="interim answers",
        ),
        pytest.param(
            [OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n1;why=not\r\ni\r\n0\r\nTrailer: x\r\n\r\n"],
            200,
            b"hi",
            True,
            id="chunks",
        ),
        pytest.param(
            [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nX"], 200, b"hi", False, id="chunks and more"
        ),
    ],
)
def test_proper_answers_are_read(pieces: list[bytes], status: int, body: bytes, *, reusable: bool) -> None:
    """Status, body and whether the connection may be used again are what the bytes say, however they are cut."""
    data, end = b"".join(pieces), pieces[-1:] if not pieces[-1] else []
    for cut in ([data], [data[i : i + 1] for i in range(len(data))], [data[:20], data[20:]]):
        reader = read(*cut, *end)
        answer = whole(reader)
        assert (answer.status, answer.body) == (status, body)
        if cut == [data]:
            assert reader.reusable is reusable


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Bad Name: x\r\n\r\n",
        OK + b"X: a\r\n folded\r\n\r\n",
        OK + b"X: a\nY: b\r\n\r\n",
        OK + b"X: \x00\r\n\r\n",
        OK + b"X: 1\r\n" * 101 + b"\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        OK + b"Content-Length: +2\r\n\r\nhi",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: \r\n\r\n",
        OK + b"Content-Length: 1_0\r\n\r\n0123456789",
        OK + b"Content-Length: 5000\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        OK + b"X: " + b"x" * BYTES_MAX,
        b"HTTP/1.1 100 Go on\r\n\r\n" * 300,
        b"x" * (BYTES_MAX + 1),
    ],
)
def test_what_cannot_be_trusted_is_refused(data: bytes) -> None:
    """An answer that could be read in two ways, or that is too large, is no answer."""
    with pytest.raises(AnswerError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HT",
        OK,
        OK + b"Content-Length: 3\r\n\r\nhi",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        b"HTTP/1.1 100 Go on\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_short_is_refused(data: bytes) -> None:
    """The end of the connection before the end of the answer is an error, wherever it comes."""
    with pytest.raises(AnswerError, match="closed"):
        read(*([data] if data else []), b"")


def test_errors_repeat_nothing_of_the_answer() -> None:
    """What a provider sends may hold card numbers; the error's text does not."""
    with pytest.raises(AnswerError) as error:
        read(b"4111111111111111\r\n\r\n")
    assert "4111" not in str(error.value)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_an_answer_or_an_answer_error(pieces: list[bytes]) -> None:
    """Whatever arrives after a proper beginning, nothing but AnswerError is ever raised."""
    for start in (b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        reader = AnswerReader(BYTES_MAX)
        try:
            for piece in [start, *pieces]:
                if piece and reader.feed(piece):
                    break
        except AnswerError:
            pass


TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABC-", min_size=1, max_size=12).filter(
    lambda name: name.lower() not in {"connection", "content-length", "transfer-encoding"}
)
VALUES = st.text("abc XYZ;=/,\"'019", max_size=20).map(str.strip)


@given(
    status=st.integers(200, 599).filter(lambda status: status != 304),
    headers=st.dictionaries(TOKENS.map(str.lower), VALUES, max_size=5),
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=5),
    chunked=st.booleans(),
    cuts=st.lists(st.integers(0, 600), max_size=6),
)
def test_it_reads_what_the_standard_library_reads(
    *, status: int, headers: dict[str, str], chunks: list[bytes], chunked: bool, cuts: list[int]
) -> None:
    """For proper answers, whole or in pieces, status, headers and body are those that http.client finds."""
    chunks = [] if status == 204 else chunks
    body = b"".join(chunks)
    lines = [f"HTTP/1.1 {status} Reason".encode(), *(f"{name}: {value}".encode() for name, value in headers.items())]
    if chunked and status != 204:
        coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        lines.append(b"Transfer-Encoding: chunked")
    else:
        coded = body
        lines.append(b"Content-Length: %d" % len(body))
    data = b"\r\n".join(lines) + b"\r\n\r\n" + coded

    theirs = http.client.HTTPResponse(cast("socket.socket", _File(data)))  # all that it takes of a socket is makefile()
    theirs.begin()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = AnswerReader(BYTES_MAX)
    done = [reader.feed(data[start:end]) for start, end in pairwise(edges)]
    assert done == [False] * (len(done) - 1) + [True]
    ours = whole(reader)
    assert (ours.status, ours.body) == (theirs.status, theirs.read())
    assert {name: ours.headers[name] for name in headers} == {name: theirs.headers[name] for name in headers}
    assert reader.reusable


class _File:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@pytest.mark.parametrize(
    ("header", "media_type"),
    [("Application/JSON; charset=utf-8", "application/json"), ("text/html", "text/html"), ("", "")],
)
def test_media_type(header: str, media_type: str) -> None:
    """The media type is the content type without its parameters, in lower case."""
    assert Answer(200, {"content-type": header}, b"").media_type == media_type
