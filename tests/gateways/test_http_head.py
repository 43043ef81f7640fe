"""The readers of heads and responses by themselves: exactly the form of RFC 9112, and never another meaning."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.http import RESPONSE_BYTES_MAX, Headers, Response
from gateways.http.errors import TransportError
from gateways.http.head import FIELDS_MAX, Head, parse_head
from gateways.http.response import read_response
from tests.effort import examples

OK = b"HTTP/1.1 200 OK\r\n"


def parsed(data: bytes) -> Head:
    """The head that is the whole of ``data``."""
    return parse_head(data, 0, len(data))


def in_pieces(data: bytes, size: int) -> Callable[[], bytes]:
    """A peer that sends ``data`` in pieces of ``size``, and then nothing."""
    pieces: Iterator[bytes] = iter([data[begin : begin + size] for begin in range(0, len(data), size)])

    def receive() -> bytes:
        try:
            return next(pieces)
        except StopIteration:
            raise TimeoutError from None

    return receive


PROPER: dict[str, tuple[bytes, int, int, Mapping[str, Sequence[str]]]] = {
    "usual": (OK + b"Content-Length: 2\r\n\r\n", 200, 1, {"content-length": ["2"]}),
    "no headers": (b"HTTP/1.0 302 Found\r\n\r\n", 302, 0, {}),
    "no reason, no space": (b"HTTP/1.1 204\r\n\r\n", 204, 1, {}),
    "no reason": (b"HTTP/1.1 204 \r\n\r\n", 204, 1, {}),
    "a reason beyond ASCII": (b"HTTP/1.1 200 \xfcber\r\n\r\n", 200, 1, {}),
    "an unusual status": (b"HTTP/1.1 999 x\r\n\r\n", 999, 1, {}),
    "white space around a value": (OK + b"A: \t b c\t \r\n\r\n", 200, 1, {"a": ["b c"]}),
    "no white space": (OK + b"A:b\r\n\r\n", 200, 1, {"a": ["b"]}),
    "an empty value": (OK + b"A:\r\nB: \r\n\r\n", 200, 1, {"a": [""], "b": [""]}),
    "a colon in a value": (OK + b"A: b: c\r\n\r\n", 200, 1, {"a": ["b: c"]}),
    "a value beyond ASCII": (OK + b"A: \xa0\xff\x80\r\n\r\n", 200, 1, {"a": ["\xa0\xff\x80"]}),
    "all characters of a name": (OK + b"!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n", 200, 1, {"!#$%&'*+-.^_`|~09azaz": ["x"]}),
    "a repeated header": (OK + b"A: 1\r\nB: 2\r\na: 3\r\n\r\n", 200, 1, {"a": ["1", "3"], "b": ["2"]}),
    "many headers": (OK + b"X: 1\r\n" * FIELDS_MAX + b"\r\n", 200, 1, {"x": ["1"] * FIELDS_MAX}),
}


@pytest.mark.parametrize(("data", "status", "minor", "values"), PROPER.values(), ids=PROPER)
def test_proper_heads(data: bytes, status: int, minor: int, values: Mapping[str, Sequence[str]]) -> None:
    """Status, version and headers are those of the bytes. The names of headers do not depend on case."""
    head = parsed(data)
    assert (head.status, head.minor) == (status, minor)
    for name, expected in values.items():
        assert list(head.headers.get_all(name)) == list(head.headers.get_all(name.upper())) == expected
    assert not head.headers.get_all("absent")


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "no end": OK,
    "a line that ends without CR": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n",
    "one line that ends without CR": OK + b"A: b\nContent-Length: 2\r\n\r\n",
    "a line that ends without LF": OK + b"A: b\rContent-Length: 2\r\n\r\n",
    "an empty line before it": b"\r\n" + OK + b"\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "version in lower case": b"http/1.1 200 OK\r\n\r\n",
    "version 0.9": b"HTTP/0.9 200 OK\r\n\r\n",
    "version 1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "version 2": b"HTTP/2 200 OK\r\n\r\n",
    "version 1.10": b"HTTP/1.10 200 OK\r\n\r\n",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\n\r\n",
    "a tab before the status": b"HTTP/1.1\t200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status from zero": b"HTTP/1.1 020 OK\r\n\r\n",
    "a status with a sign": b"HTTP/1.1 +20 OK\r\n\r\n",
    "a status and more": b"HTTP/1.1 200OK\r\n\r\n",
    "a control character in the reason": b"HTTP/1.1 200 O\x00K\r\n\r\n",
    "a header without colon": OK + b"A\r\n\r\n",
    "a header without name": OK + b": b\r\n\r\n",
    "a space before the colon": OK + b"Content-Length : 2\r\n\r\n",
    "a tab before the colon": OK + b"Content-Length\t: 2\r\n\r\n",
    "a name beyond ASCII": OK + b"\xc4: b\r\n\r\n",
    "a separator in a name": OK + b"A(b): c\r\n\r\n",
    "a header that continues": OK + b"A: b\r\n c\r\n\r\n",
    "a header that continues with a tab": OK + b"A: b\r\n\tc\r\n\r\n",
    "a first header that continues": OK + b" A: b\r\n\r\n",
    "NUL in a value": OK + b"A: b\x00c\r\n\r\n",
    "CR in a value": OK + b"A: b\rc\r\n\r\n",
    "DEL in a value": OK + b"A: b\x7fc\r\n\r\n",
    "a vertical tab in a value": OK + b"A: b\x0bc\r\n\r\n",
    "too many headers": OK + b"X: 1\r\n" * (FIELDS_MAX + 1) + b"\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_heads_of_another_form_are_refused(data: bytes) -> None:
    """What is not exactly of the form is refused, although some parsers accept it."""
    with pytest.raises(TransportError):
        parsed(data)


# --- against another parser ---


class Wire:
    """What ``http.client`` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        """The file that a response is read from."""
        return io.BytesIO(self._data)


def by_the_standard_library(data: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """The response that ``http.client`` reads. Raises HTTPException, ValueError."""
    response = http.client.HTTPResponse(Wire(data), method="GET")  # type: ignore[arg-type]
    response.begin()
    return response, response.read()


_SPACE = st.sampled_from([b"", b" ", b" ", b"\t", b" \t"] * 4 + [b"\x0b"])
_END = st.sampled_from([b"\r\n"] * 60 + [b"\n", b"\r", b"\r\n ", b""])
_NAMES = st.sampled_from(
    [b"A", b"a", b"From", b"X-Y", b"content-Type", b"Connection", b"Set-Cookie"] * 6 + [b"A B", b"", b"\xe9", b" A"]
)
_VALUES = st.one_of(
    st.sampled_from([b"", b"close", b"keep-alive", b"text/xml; charset=utf-8", b"=?utf-8?q?a?=", b"a: b", b"\xa0\xff"]),
    st.text("ab :;,=?\"'\\()<>@\t\x80\x85\xa0\xff", max_size=8).map(lambda text: text.encode("latin-1")),
    st.binary(max_size=2),
)
_FRAMES = st.sampled_from(
    [
        (b"Content-Length: 5\r\n", b"hello"),
        (b"content-length:\t5 \r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: CHUNKED\r\n", b"2;a=b\r\nhe\r\n3\r\nllo\r\n000\r\nX: y\r\n\r\n"),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"", b"hello"),
    ]
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Responses that are nearly correct: most parts are, some are not."""
    version = draw(st.sampled_from([b"HTTP/1.1"] * 30 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2", b"http/1.1"]))
    status = draw(st.sampled_from([b"200"] * 20 + [b"404", b"204", b"100", b"099", b"2 0", b"1000"]))
    lines = [
        version + b" " + status + draw(st.sampled_from([b" OK", b"", b" ", b" \xfc"] * 5 + [b" \x00"])) + draw(_END)
    ]
    for name, before, after in draw(st.lists(st.tuples(_NAMES, _SPACE, _SPACE), max_size=4)):
        lines.append(name + b":" + before + draw(_VALUES) + after + draw(_END))
    frame, body = draw(_FRAMES)
    lines.insert(draw(st.integers(1, len(lines))), frame)
    return b"".join(lines) + b"\r\n" + body


@examples(600)
@given(responses(), st.integers(1, 400))
def test_what_is_accepted_another_parser_reads_alike(data: bytes, size: int) -> None:
    """What is accepted, ``http.client`` accepts as well, with the same status, headers and body."""
    try:
        ours, _ = read_response(in_pieces(data, size))
    except (TransportError, TimeoutError):
        return
    theirs, body = by_the_standard_library(data)
    assert (ours.status, ours.body) == (theirs.status, b"" if ours.status == 204 else body)
    for name in {name.lower() for name in theirs.headers}:
        values = theirs.headers.get_all(name, [])
        assert list(ours.headers.get_all(name)) == [str(value).strip(" \t") for value in values]


@examples(300)
@given(
    st.sampled_from([b"", b"HTTP/1.1 200 ", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"]), st.binary(max_size=200)
)
def test_the_pieces_make_no_difference(start: bytes, rest: bytes) -> None:
    """However the bytes arrive, they are the same response or none."""

    def result(size: int) -> object:
        try:
            response, _ = read_response(in_pieces(start + rest, size))
        except (TransportError, TimeoutError):
            return None
        return response.status, response.body

    assert result(1) == result(7) == result(1000)


def test_a_large_response_in_single_bytes() -> None:
    """The largest response is read from single bytes, too."""
    head = OK + b"Content-Length: 65000\r\n"
    data = head + b"X: " + b"y" * (RESPONSE_BYTES_MAX - 65_000 - len(head) - 7) + b"\r\n\r\n" + b"x" * 65_000
    assert len(data) == RESPONSE_BYTES_MAX
    assert len(read_response(in_pieces(data, 1))[0].body) == 65_000
    with pytest.raises(TransportError, match="too large"):
        read_response(in_pieces(data.replace(b"X:", b"X: "), 1))


@pytest.mark.parametrize(
    ("values", "charset"),
    [
        ([], ""),
        (["text/xml"], ""),
        (["text/xml; q=1;;"], ""),
        (["text/xml; charset=UTF-8"], "utf-8"),
        (['text/xml ;a=b; Charset="utf-8" ; c=d'], "utf-8"),
        (["text/xml;charset=utf-8;charset=latin1"], "?"),
        (["text/xml;charset=utf-8;CHARSET=utf-8"], "?"),
        (["text/xml;charset="], "?"),
        (["text/xml;charset*=utf-8''x"], "?"),
        (["text/xml;charset*0=utf;charset*1=-8"], "?"),
        (['text/xml;a="charset=utf-8"'], "?"),
        (['text/xml;charset="utf-8'], "?"),
        (["text/xml;charset=utf-8", "text/xml;charset=utf-16"], "?"),
    ],
)
def test_charset(values: list[str], charset: str) -> None:
    """The charset is that of the content type in lower case. One that parsers may read differently is none."""
    assert Response(200, Headers({"content-type": values}), b"").charset == charset
