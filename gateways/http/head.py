"""The head of a response, read strictly by RFC 9112: what is not exactly of its form is refused.

Refused are a line that ends without CR, a header that continues on a second line, a space before the colon, control
characters, and versions other than 1.0 and 1.1. Parsers disagree on them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateways.http.errors import TransportError

FIELDS_MAX: Final = 100
END: Final = b"\r\n\r\n"
NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
"""The form of a header's name (a token), as a regular expression."""
_TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELD: Final = NAME.encode() + rb":" + _TEXT + rb"\r\n"
FIELD: Final = re.compile(_FIELD)
"""One header with the end of its line."""
_HEAD: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + _TEXT + rb")?\r\n((?:" + _FIELD + rb")*+)\r\n")
_BEGINNING: Final = b"HTTP/1."
_OPTIONAL_SPACE: Final = " \t"


class Headers:
    """The headers of a response. Their names are case-insensitive."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = values  # by names in lower case

    def get_all(self, name: str) -> Sequence[str]:
        """All values of the header ``name``, in their order; empty when there is none."""
        return self._values.get(name.lower(), ())


class Head(NamedTuple):
    """A status line with its headers. ``minor`` is that of the version: 0 or 1."""

    status: int
    minor: int
    headers: Headers


def parse_head(data: bytes | bytearray, start: int, end: int) -> Head:
    """Read the head in ``data[start:end]``, which ends with the first empty line. Raises TransportError."""
    found = _HEAD.fullmatch(data, start, end)
    if found is None:
        raise TransportError("the head of the answer cannot be read")
    values: dict[str, list[str]] = {}
    lines = found[3].decode("latin-1").split("\r\n")
    lines.pop()  # the text after the last line end
    if len(lines) > FIELDS_MAX:
        raise TransportError("the answer has too many headers")
    for line in lines:
        name, _, value = line.partition(":")
        values.setdefault(name.lower(), []).append(value.strip(_OPTIONAL_SPACE))
    return Head(int(found[2]), int(found[1]), Headers(values))


def may_be_head(data: bytes | bytearray, start: int) -> bool:
    """Whether the bytes from ``start`` on can still become a head."""
    return data[start : start + len(_BEGINNING)] == _BEGINNING[: len(data) - start]
