"""A complete response, read from a function that returns received bytes. Its end must be unambiguous.

The end of a connection never counts as the end of a response.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from gateways.http.errors import TransportError
from gateways.http.head import END, FIELD, NAME, Head, Headers, may_be_head, parse_head

RESPONSE_BYTES_MAX: Final = 64 * 1024
"""Headers and body together; a payment response has a few hundred bytes."""

_LENGTH: Final = re.compile(r"[0-9]{1,12}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[\t ]*+;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
_PARAMETER: Final = re.compile(rf'({NAME})=({NAME}|"[^"\\=;]*")')
_PARAMETERS: Final = re.compile(rf"(?:[ \t]*;[ \t]*{_PARAMETER.pattern})*[ \t]*")
_CONTINUE: Final = 100
_FINAL_MIN: Final = 200
_WITHOUT_BODY: Final = frozenset({204, 304})


class Response(NamedTuple):
    """A complete response."""

    status: int
    headers: Headers
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case; empty when there is none."""
        types = self.headers.get_all("content-type")
        return ",".join([each.partition(";")[0].strip().lower() for each in types])

    @property
    def charset(self) -> str:
        """The charset of the content type in lower case; empty when there is none, ``?`` when it is ambiguous."""
        _, _, parameters = ",".join(self.headers.get_all("content-type")).partition(";")
        if "charset" not in parameters.lower():
            return ""
        if _PARAMETERS.fullmatch(";" + parameters) is None:
            return "?"
        named: dict[str, str] = {name.lower(): value for name, value in _PARAMETER.findall(parameters)}
        if len(named) != parameters.count("=") or any(name.startswith("charset*") for name in named):
            return "?"
        return named.get("charset", "").strip('"').lower()


def read_response(receive: Callable[[], bytes]) -> tuple[Response, bool]:
    """Read one response; returns it, and whether its connection may carry another one.

    ``receive`` returns the next bytes, at least one. Raises TransportError, and what ``receive`` raises.
    """
    incoming = _Incoming(receive)
    begin = 0
    while True:
        end = incoming.head_end(begin)
        head = parse_head(incoming.data, begin, end)
        if head.status != _CONTINUE:
            break
        begin = end
    length = _body_length(head)
    if length is None:
        body, end = _read_chunks(incoming, end)
    else:
        begin, end = end, end + length
        incoming.read_until(end)
        body = bytes(incoming.data[begin:end])
    # Bytes after the response belong to none: the next one must not begin with them.
    return Response(head.status, head.headers, body), len(incoming.data) == end and _is_kept(head)


class _Incoming:
    """The received bytes of one response, and more of them on demand, up to the limit."""

    __slots__ = ("_receive", "data")

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self.data: bytes | bytearray = receive()

    def head_end(self, begin: int) -> int:
        """The end of the head that starts at ``begin``."""
        end = self.data.find(END, begin)
        if end >= 0:
            return end + len(END)
        if not may_be_head(self.data, begin):
            raise TransportError("the answer is not HTTP/1")
        return self.end_of(END, begin)

    def end_of(self, mark: bytes, begin: int) -> int:
        """The end of the first ``mark`` from ``begin`` on."""
        searched = begin
        while (found := self.data.find(mark, searched)) < 0:
            searched = max(begin, len(self.data) - len(mark) + 1)
            self._read_more()
        return found + len(mark)

    def read_until(self, end: int) -> None:
        """Read as far as ``end``."""
        if end > RESPONSE_BYTES_MAX:
            raise TransportError("the answer is too large")
        while len(self.data) < end:
            self._read_more()

    def _read_more(self) -> None:
        if len(self.data) >= RESPONSE_BYTES_MAX:
            raise TransportError("the answer is too large")
        if isinstance(self.data, bytes):
            self.data = bytearray(self.data)
        self.data += self._receive()


def _body_length(head: Head) -> int | None:
    """The length of the body; None for chunks. Raises TransportError unless it is unambiguous."""
    if head.status < _FINAL_MIN:
        raise TransportError("an interim answer")
    if head.status in _WITHOUT_BODY:
        return 0
    lengths, codings = head.headers.get_all("content-length"), head.headers.get_all("transfer-encoding")
    if not codings and len(lengths) == 1 and _LENGTH.fullmatch(lengths[0]) is not None:
        return int(lengths[0])
    if head.minor and not lengths and len(codings) == 1 and codings[0].lower() == "chunked":
        return None
    raise TransportError("the end of the answer is ambiguous")


def _read_chunks(incoming: _Incoming, end: int) -> tuple[bytes, int]:
    """Read chunks and trailers from ``end`` on; returns the body, and the end of the response."""
    chunks: list[bytes | bytearray] = []
    while True:
        begin, end = end, incoming.end_of(b"\r\n", end)
        line = _CHUNK.fullmatch(incoming.data, begin, end)
        if line is None:
            raise TransportError("a chunk that cannot be read")
        size = int(line[1], 16)
        if not size:
            break
        begin, end = end, end + size + 2
        incoming.read_until(end)
        if incoming.data[end - 2 : end] != b"\r\n":
            raise TransportError("a chunk longer than its size")
        chunks.append(incoming.data[begin : end - 2])
    while True:
        begin, end = end, incoming.end_of(b"\r\n", end)
        if end - begin == len(b"\r\n"):
            return b"".join(chunks), end
        if FIELD.fullmatch(incoming.data, begin, end) is None:
            raise TransportError("a trailer that cannot be read")


def _is_kept(head: Head) -> bool:
    """Whether the peer keeps the connection, and sends nothing more of this response."""
    headers = head.headers
    if head.status in _WITHOUT_BODY and (headers.get_all("content-length") or headers.get_all("transfer-encoding")):
        return False  # it may send a body nevertheless
    options = headers.get_all("connection")
    return head.minor == 1 and not (options and "close" in map(_option, ",".join(options).split(",")))


def _option(text: str) -> str:
    return text.strip(" \t").lower()
