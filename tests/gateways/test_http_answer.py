"""The transport against exact bytes: which responses it accepts, and which give an unknown outcome."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.outcomes import OutcomeUnknownError
from gateways.http import RESPONSE_BYTES_MAX, Headers, HttpClient, Response
from tests.effort import examples
from tests.gateways.peer import Behave, Peer, answers, drips, sends, sends_and_closes
from tests.gateways.transport import SHORT_DEADLINE_S, Client

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

PROPER = {
    "length": (OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi", True),
    "space after the length": (OK + b"content-length:2 \t\r\n\r\nhi", 200, b"hi", True),
    "empty body": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "close": (OK + b"Content-Length: 2\r\nConnection: x, Close\r\n\r\nhi", 200, b"hi", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi", False),
    "no content": (b"HTTP/1.1 204 \r\n\r\n", 204, b"", True),
    "no content, but a length": (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 204, b"", False),
    "not modified": (b"HTTP/1.1 304 No\r\n\r\n", 304, b"", True),
    "close in another header": (
        OK + b"Connection: x\r\nContent-Length: 2\r\nconnection: CLOSE \r\n\r\nhi",
        200,
        b"hi",
        False,
    ),
    "an option that only contains close": (
        OK + b"Content-Length: 2\r\nConnection: closet\r\n\r\nhi",
        200,
        b"hi",
        True,
    ),
    "no reason": (b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", 503, b"", True),
    "go on": (b"HTTP/1.1 100 Go on\r\nX: y\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi", True),
    "chunks": (
        OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n1;why=not\r\ni\r\n0\r\nTrailer: x\r\n\r\n",
        200,
        b"hi",
        True,
    ),
}


@pytest.mark.parametrize("cut", [sends, lambda data: drips(data, every_s=0.0005)], ids=["whole", "a byte at a time"])
@pytest.mark.parametrize(("data", "status", "body", "reusable"), PROPER.values(), ids=PROPER)
def test_proper_answers_are_read(
    client: Client, peer: Peer, data: bytes, status: int, body: bytes, *, reusable: bool, cut: Callable[[bytes], Behave]
) -> None:
    """Status and body are read from the bytes, however they are divided. The next call finds no bytes of them."""
    transport = client(peer.url)
    for _ in range(2):
        peer.behave = cut(data)
        answer = transport.request("GET", "/", {})
        assert (answer.status, answer.body) == (status, body)
    peer.behave = answers(200, b"{}")
    assert transport.request("GET", "/", {}).body == b"{}"
    if cut is sends:
        assert peer.connections == (1 if reusable else 3)


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 2\r\n\r\nhi!",
        b"HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\nX",
        b"HTTP/1.1 204 None\r\n\r\n0\r\n\r\n",
    ],
)
def test_bytes_beyond_an_answer_end_its_connection(client: Client, peer: Peer, data: bytes) -> None:
    """The response counts, but additional bytes are not taken for the beginning of the next response."""
    transport = client(peer.url)
    peer.behave = sends(data)
    assert transport.request("GET", "/", {}).status in {200, 204}
    peer.behave = answers(200, b"{}")
    assert transport.request("GET", "/", {}).body == b"{}"
    assert peer.connections == 2


AMBIGUOUS = {
    "no HTTP": b"hello\r\n\r\n",
    "no version": b"200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a status too low": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "a status too high": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a status that is none": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching\r\nContent-Length: 0\r\n\r\n",
    "hints": b"HTTP/1.1 103 Hints\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
    "a header without colon": OK + b"Content-Length: 2\r\nno colon\r\nX: y\r\n\r\nhi",
    "a header's name with a space": OK + b"Content-Length: 2\r\nBad Name: x\r\n\r\nhi",
    "a first header that continues": OK + b" folded\r\nContent-Length: 2\r\n\r\nhi",
    "too many headers": OK + b"X: 1\r\n" * 101 + b"Content-Length: 0\r\n\r\n",
    "until the connection ends": OK + b"\r\nhi",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "two lengths in one": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "a length with a sign": OK + b"Content-Length: +2\r\n\r\nhi",
    "a negative length": OK + b"Content-Length: -1\r\n\r\n",
    "an empty length": OK + b"Content-Length: \r\n\r\n",
    "a length for Python alone": OK + b"Content-Length: 1_0\r\n\r\n0123456789",
    "digits of another script": OK + b"Content-Length: \xb2\r\n\r\nhi",
    "an endless length": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhi",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding and a length": OK + b"Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + b"xyz\r\n",
    "a chunk of a negative size": CHUNKED + b"-1\r\n0\r\n\r\n",
    "a chunk of a more negative size": CHUNKED + b"-7\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nhi\r\n0\r\n\r\n",
    "a chunk that fills the memory": CHUNKED + b"7fffffffffffffff\r\nhi",
    "a chunk beyond any memory": CHUNKED + b"f" * 60_000 + b"\r\nhi",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk's size with a sign": CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n",
    "a chunk's size for Python alone": CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n",
    "a chunk's size with a space before it": CHUNKED + b" 2\r\nhi\r\n0\r\n\r\n",
    "a chunk's size with a space after it": CHUNKED + b"2 \r\nhi\r\n0\r\n\r\n",
    "a chunk that ends without CR": CHUNKED + b"2\r\nhi\n0\r\n\r\n",
    "a chunk's line that ends without CR": CHUNKED + b"2\nhi\r\n0\r\n\r\n",
    "a control character in a chunk's extension": CHUNKED + b"2;a\x00\r\nhi\r\n0\r\n\r\n",
    "a chunk shorter than its size": CHUNKED + b"3\r\nhi\r\n0\r\n\r\n",
    "a trailer without colon": CHUNKED + b"2\r\nhi\r\n0\r\nno colon\r\n\r\n",
    "a trailer that continues": CHUNKED + b"2\r\nhi\r\n0\r\nX: y\r\n z\r\n\r\n",
    "trailers without end": CHUNKED + b"0\r\n" + b"X: y\r\n" * RESPONSE_BYTES_MAX,
    "a header that continues": OK + b"Content-Length: 2\r\nX: y\r\n z\r\n\r\nhi",
    "a space before the colon": OK + b"Content-Length : 2\r\n\r\nhi",
    "lines that end without CR": OK.replace(b"\r", b"") + b"Content-Length: 2\n\nhi",
    "the coding none": OK + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi",
    "an empty coding and a length": OK + b"Transfer-Encoding:\r\nContent-Length: 2\r\n\r\nhi",
    "the same length twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "chunks without end": CHUNKED + b"1000\r\n%s\r\n" % (b"x" * 4096) * 16,
    "a header without end": OK + b"X: " + b"x" * RESPONSE_BYTES_MAX,
    "going on without end": b"HTTP/1.1 100 Go on\r\n\r\n" * 4000,
}


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguous_answer_is_unknown(client: Client, peer: Peer, data: bytes) -> None:
    """A response that is ambiguous or too large gives an unknown outcome, and its connection is not reused."""
    peer.behave = sends_and_closes(data)
    transport = client(peer.url)
    with pytest.raises(OutcomeUnknownError):
        transport.request("GET", "/", {})
    assert not transport._pool._idle
    assert len(peer.requests) == 1


WHOLE = {
    "with a length": OK + b"Content-Length: 3\r\n\r\nhi!",
    "without a body": b"HTTP/1.1 204 None\r\nX: y\r\n\r\n",
    "with chunks": CHUNKED + b"2\r\nhi\r\n02\r\n!!\r\n0\r\nX: y\r\n\r\n",
    "after another": b"HTTP/1.1 100 Go on\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_an_incomplete_answer_is_unknown(client: Client, peer: Peer, data: bytes) -> None:
    """The end of a connection never counts as the end of a response, after whichever byte it comes."""
    transport = client(peer.url)
    for end in range(len(data)):
        peer.behave = sends_and_closes(data[:end])
        with pytest.raises(OutcomeUnknownError, match="TransportError: the connection was closed"):
            pytest.fail(f"{data[:end]!r}: {transport.request('GET', '/', {})}")
    peer.behave = sends_and_closes(data)
    assert transport.request("GET", "/", {}).status in {200, 204}


def test_an_endless_drip_of_small_answers_ends(client: Client, peer: Peer) -> None:
    """Interim responses, even prompt ones, do not extend the deadline."""
    peer.behave = drips(b"HTTP/1.1 100 Go on\r\n\r\n" * 100, every_s=0.01)
    with pytest.raises(OutcomeUnknownError, match="TimeoutError"):
        client(peer.url, SHORT_DEADLINE_S).request("GET", "/", {})


@examples(150)
@given(st.sampled_from([b"", b"HTTP/1.1 ", OK, CHUNKED]), st.binary(max_size=120))
def test_any_bytes_are_an_answer_or_unknown(start: bytes, rest: bytes) -> None:
    """Any bytes after a correct beginning give a response or an unknown outcome, and no other exception."""
    peer = Peer(sends_and_closes(start + rest))
    transport = HttpClient("one", peer.url, timeout_s=5, max_concurrent=1)
    try:
        assert isinstance(transport.request("GET", "/", {}), Response)
    except OutcomeUnknownError:
        pass
    finally:
        transport.close()
        peer.close()


@pytest.mark.parametrize(
    ("headers", "media_type"),
    [
        (["Application/JSON; charset=utf-8"], "application/json"),
        (["text/html"], "text/html"),
        (["application/json", "text/html"], "application/json,text/html"),
        ([], ""),
    ],
)
def test_media_type(headers: list[str], media_type: str) -> None:
    """The media type is the content type without its parameters, in lower case. Two content types give none."""
    assert Response(200, Headers({"content-type": headers}), b"").media_type == media_type
