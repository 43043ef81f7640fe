"""Secret values that must not appear in any output, and the search for them in any encoding.

A new kind of secret is one more entry of ``SECRETS``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from itertools import count
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

_COMMON: Final = "493281746052"
"""The first digits of all card numbers of a test. A masked number shows only the first six of them."""
SHOWN: Final = f"{_COMMON[:6]}******"
"""The beginning of a masked card number."""

CVV: Final = "cvv-of-no-card-7391"
API_KEY: Final = "pgw_canarycanary2_Xq7LwV2tR9bN4mKs8dFh3jPzYa5Cg6Ue7Wk8Mn2Hv3T"
_KEY: Final = b"callbacks-of-a-canary-6152"
WEBHOOK_SECRET: Final = f"whsec_{base64.b64encode(_KEY).decode()}"
TEXT_SECRET: Final = "text-secret-of-a-canary-8804"
PASSWORD: Final = "Canary@of:the-database-2417"

SECRETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "a CVV": CVV,
        "an API key": API_KEY.rpartition("_")[2],
        "a webhook secret": WEBHOOK_SECRET.removeprefix("whsec_"),
        "the key of a webhook secret": _KEY.decode(),
        "a callback secret": TEXT_SECRET,
        "the database's password": PASSWORD,
    }
)
"""The name of each secret in a failure, and the part of it that must not appear anywhere."""

_numbers = count(100)


def new_card() -> str:
    """A card number of 16 digits that was not returned before."""
    body = f"{_COMMON}{next(_numbers) % 1000:03d}"
    doubled = [int(digit) * 2 for digit in body[::2]]
    total = sum(value - 9 if value > 9 else value for value in doubled) + sum(map(int, body[1::2]))
    return f"{body}{-total % 10}"


def spellings(card: str) -> tuple[str, ...]:
    """Forms in which callers may write a card number."""
    fours = [card[place : place + 4] for place in range(0, 16, 4)]
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in card)
    return (card, " ".join(fours), "-".join(fours), f"x:{card}", wide, ", ".join(fours), "|".join(card))


def leaks(data: bytes) -> list[str]:
    """The canaries in ``data``, each with its form."""
    found = [form for form, needle in _NEEDLES.items() if needle in data]
    if _COMMON.encode() in re.sub(rb"[^0-9]", b"", data):
        found.append("a card number, digits only")
    return found


def _needles() -> Iterator[tuple[str, bytes]]:
    cards = {f"a card number like {text}": text for text in spellings(_COMMON + "0000")}
    for name, text in {**{name: _without_last(text) for name, text in cards.items()}, **SECRETS}.items():
        plain = text.encode()
        yield name, plain
        yield f"{name}, URL-encoded", quote(text, safe="").encode()
        yield f"{name}, in a form", quote(text, safe=" ").replace(" ", "+").encode()
        yield f"{name}, hexadecimal", plain.hex().encode()
        yield f"{name}, hexadecimal in capitals", plain.hex().upper().encode()
        yield f"{name}, UTF-16", text.encode("utf-16-le")
        yield f"{name}, escaped as JSON", text.encode("ascii", "backslashreplace")
        for before in range(3):
            yield f"{name}, base64 after {before}", _base64_core(plain, before)


def _without_last(text: str) -> str:
    """A spelling without its last four digits."""
    return re.sub(r"(\W*\d){4}$", "", text)


def _base64_core(plain: bytes, before: int) -> bytes:
    """The part of ``plain``'s base64 that is the same in every text with ``before`` bytes, modulo 3, before it."""
    encoded = base64.b64encode(b"\0" * before + plain).rstrip(b"=")
    sure = len(encoded) if (before + len(plain)) % 3 == 0 else len(encoded) - 1
    return encoded[-(-before * 8 // 6) : sure]


_NEEDLES: Final = dict(_needles())
