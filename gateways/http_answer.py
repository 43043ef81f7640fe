"""Reads one HTTP/1.1 answer from bytes as they arrive (RFC 9112), strictly; knows no socket, no clock, no provider.

Strict, because a wrong guess about where an answer ends is a wrong guess about money: two lengths that differ, a folded
header or a bare line feed make the answer unreadable, and the caller then knows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HEADERS_MAX: Final = 100

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class AnswerError(ValueError):
    """The bytes are no acceptable answer; the text says why and repeats none of them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Header names are in lower case; a header that came several times is joined with commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case; empty when the answer names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class AnswerReader:
    """Collects one answer of at most ``bytes_max`` bytes, headers and interim (1xx) answers included."""

    __slots__ = (
        "_at",
        "_body",
        "_bytes_max",
        "_chunked",
        "_data",
        "_headers",
        "_in_trailers",
        "_keep_alive",
        "_length",
        "_received",
        "_status",
        "answer",
        "reusable",
    )

    def __init__(self, bytes_max: int) -> None:
        self.answer: Answer | None = None
        self.reusable = False  # whether the connection may carry another request afterwards
        self._bytes_max = bytes_max
        self._received = 0
        self._data = bytearray()  # what has not been consumed yet
        self._at = 0  # how far ``_data`` has been looked at
        self._status = 0  # 0 until the headers of the final answer are complete
        self._headers: Mapping[str, str] = {}
        self._keep_alive = False
        self._chunked = False
        self._length: int | None = None  # None: the answer ends with the connection
        self._in_trailers = False
        self._body = bytearray()

    def feed(self, data: bytes) -> bool:
        """Take what has arrived (``b""``: the peer closed); True when ``answer`` is whole. Raises AnswerError."""
        if not data:
            return self._closed()
        self._received += len(data)
        if self._received > self._bytes_max:
            raise AnswerError(f"the answer is larger than {self._bytes_max} bytes")
        self._data += data
        if not self._status and not self._read_head():
            return False
        if self._chunked:
            return self._read_chunks()
        if self._length is None or len(self._data) < self._length:
            return False
        return self._finish(bytes(self._data[: self._length]), self._length)

    def _closed(self) -> bool:
        if not self._status:
            raise AnswerError("the connection was closed before an answer" if not self._received else _CUT_SHORT)
        if self._chunked or self._length is not None:
            raise AnswerError(_CUT_SHORT)
        self._keep_alive = False
        return self._finish(bytes(self._data), len(self._data))

    def _finish(self, body: bytes, consumed: int) -> bool:
        # Bytes beyond the answer belong to no request of ours: such a connection is not used again.
        self.reusable = self._keep_alive and consumed == len(self._data)
        self.answer = Answer(self._status, self._headers, body)
        return True

    def _read_head(self) -> bool:
        """Consume the head, and interim answers before it, once it is complete."""
        while True:
            end = self._data.find(b"\r\n\r\n", self._at)
            if end < 0:
                self._at = max(0, len(self._data) - 3)
                return False
            head = bytes(self._data[:end])
            del self._data[: end + 4]
            self._at = 0
            lines = head.split(b"\r\n")
            match = _STATUS_LINE.fullmatch(lines[0])
            if match is None:
                raise AnswerError("not an HTTP/1.1 answer")
            headers = _parse_headers(lines[1:])
            status = int(match[2])
            if status == 101:
                raise AnswerError("the answer switches protocols")
            if status >= 200:
                self._take_framing(status, headers, http_1_1=match[1] == b"1")
                return True

    def _take_framing(self, status: int, headers: Mapping[str, str], *, http_1_1: bool) -> None:
        self._status, self._headers = status, headers
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if status in {204, 304}:
            self._length = 0
        elif coding is not None:
            if coding.lower() != "chunked" or length is not None or not http_1_1:
                raise AnswerError("a transfer coding that is not understood")
            self._chunked = True
        elif length is not None:
            self._length = _parse_length(length)
            if self._length > self._bytes_max:
                raise AnswerError(f"the answer is larger than {self._bytes_max} bytes")
        options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
        self._keep_alive = http_1_1 and "close" not in options

    def _read_chunks(self) -> bool:
        data = self._data
        while (end := data.find(b"\r\n", self._at)) >= 0:
            line_start, self._at = self._at, end + 2
            if self._in_trailers:
                if end == line_start:
                    return self._finish(bytes(self._body), self._at)
                continue
            match = _CHUNK_SIZE.fullmatch(data, line_start, end)
            if match is None:
                raise AnswerError("a chunk without a readable size")
            size = int(match[1], 16)
            if size == 0:
                self._in_trailers = True
                continue
            stop = self._at + size
            if stop > self._bytes_max:
                raise AnswerError(f"the answer is larger than {self._bytes_max} bytes")
            if len(data) < stop + 2:
                self._at = line_start
                return False
            if data[stop : stop + 2] != b"\r\n":
                raise AnswerError("a chunk that is longer than its size")
            self._body += data[self._at : stop]
            self._at = stop + 2
        return False


_CUT_SHORT: Final = "the connection was closed in the middle of the answer"


def _parse_headers(lines: list[bytes]) -> Mapping[str, str]:
    if len(lines) > HEADERS_MAX:
        raise AnswerError(f"more than {HEADERS_MAX} headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise AnswerError("a header line that cannot be read")
        key, text = name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _parse_length(text: str) -> int:
    """The one content length; the same one several times is permitted (RFC 9112, section 6.3)."""
    lengths = {part.strip(" \t") for part in text.split(",")}
    if len(lengths) != 1 or _LENGTH.fullmatch(length := lengths.pop()) is None:
        raise AnswerError("a content length that cannot be read")
    return int(length)
