"""Invalid parts of requests for any route: bodies, values, content types, queries, ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

DIGITS: Final = "9" * 5000

MALFORMED: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "a space": b" ",
    "null": b"null",
    "a number": b"1",
    "a text": b'"text"',
    "an array": b"[]",
    "an object in an array": b"[{}]",
    "unclosed": b'{"a": 1',
    "an extra comma": b'{"a": 1,}',
    "another object after it": b"{}{}",
    "a comment": b"{} // comment",
    "single quotes": b"{'a': 1}",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "NaN inside": b'{"a": {"b": [NaN]}}',
    "a leading zero": b'{"a": 01}',
    "a raw U+0000": b'{"a": "\x00"}',
    "a raw line feed": b'{"a": "\n"}',
    "half an escape": b'{"a": "\\u12"}',
    "not UTF-8": b'{"a": "\xff"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "an overlong U+0000": b'{"a": "\xc0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": json.dumps({"a": 1}).encode("utf-16"),
    "open brackets": b"[" * 60_000,
    "nested arrays": b"[" * 30_000 + b"]" * 30_000,
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a form": b"a=1&b=2",
    "XML": b"<request/>",
}
"""Bodies that are not a strict JSON object."""

TOO_LARGE: Final[Mapping[str, bytes]] = {
    "100,000 open brackets": b"[" * 100_000,
    "100,000 spaces": b"{" + b" " * 100_000 + b"}",
    "one byte too many": b"{}".ljust(64 * 1024 + 1),
    "two mebibytes": bytes(2 * 1024 * 1024),
}

NO_VALUE: Final[Mapping[str, str]] = {
    "null": "null",
    "true": "true",
    "an array": "[]",
    "an object": "{}",
    "a nested array": "[" * 500 + "]" * 500,
    "a number that no float holds": "1e400",
    "a number that no decimal holds": "1e99999999999999999999",
    "5,000 digits": DIGITS,
    "5,000 digits as a text": f'"{DIGITS}"',
    "nothing": '""',
    "U+0000": r'"\u0000"',
    "a lone surrogate": r'"\ud800"',
    "a control character": r'"\u0085"',
    "another script's digit": '"\u0663"',
}
"""Values, as JSON, that hardly any field accepts."""

CONTENT_TYPES: Final = (
    *("", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"),
    *("application/problem+json", "application/json-seq", "application/jsonx", "application/json; charset=iso-8859-1"),
    *("application/json; charset=utf-16", "application/json; charset=utf-8; charset=utf-16"),
    *('application/json; charset="utf-8', "application/json, application/json", "*/*", "\u00e9", "x" * 5000),
)
ENCODINGS: Final = ("gzip", "deflate", "br", "zstd", "identity, gzip", "x", "\u00e9")

QUERIES: Final[Mapping[str, str]] = {
    "x=1": "x",
    "x": "x",
    "x=": "x",
    "x=1&x=2": "x",
    "=1": "",
    "%00=1": r"\u{0}",
    "%0d%0a=1": r"\u{d}\u{a}",
    "%ff=1": r"\u{fffd}",
    "%F0%9F%92%A9=1": r"\u{1f4a9}",
    "__proto__=1": "__proto__",
    "offset=1": "offset",
    f"{'n' * 5000}=1": "n" * 64 + "...",
}
"""Unknown query fields, and their names in the answer."""

QUERY_VALUES: Final = ("", "%00", "%FF", "%D9%A3", "%20", "a%0Ab", DIGITS, "%ED%A0%80", "+1", "1+", "1%2C2", "(null)")
"""Values that hardly any parameter accepts."""
VISIBLE: Final = ("1%2C2", "(null)")
"""Those of them that are visible ASCII characters, and short."""

IDS: Final[Mapping[str, str]] = {
    "unknown": "unknown",
    "an unknown transaction": "019ab000-0000-7000-8000-ffffffffffff",
    "U+0000": "%00",
    "not UTF-8": "%FF",
    "a surrogate": "%ED%A0%80",
    "another script's digit": "%D9%A3",
    "an emoji": "%F0%9F%92%A9",
    "a space": "%20",
    "a line feed": "12345%0A",
    "a slash": "a%2Fb",
    "a quote": "'%22;--",
    "a percent sign": "%25",
    "half an escape": "%",
    "dots": "..%2F..",
    "5,000 digits": DIGITS,
    "a tenth of a mebibyte": "x" * 100_000,
}
"""Ids in a path that do not exist."""

KEYS: Final = ("", " ", '"', '""', '"a', "a b", "a\tb", "\u00e9", "x" * 256, f'"{"x" * 256}"', '"a"b"\x7f', "a\x00b")
"""Invalid idempotency keys."""


def as_json(members: Mapping[str, Any], **raw: str) -> str:
    """An object of ``members``, some of which are given as JSON already."""
    texts = {**{name: json.dumps(value) for name, value in members.items()}, **raw}
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}"
