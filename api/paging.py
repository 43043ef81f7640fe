"""Lists page by page. A cursor is opaque: the kind of list and the key of the last item, never an offset."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar

from api.patterns import DEAD_LETTER_ID, GATEWAY_NAME, REVIEW_KEY, TRANSACTION_ID, VERSION

_T = TypeVar("_T")


class CursorKind(Enum):
    """The lists that have pages: the letter in their cursors, and what their keys look like."""

    TRANSACTIONS = ("t", TRANSACTION_ID)
    VERSIONS = ("v", VERSION)
    GATEWAYS = ("g", GATEWAY_NAME)
    DEAD_LETTERS = ("d", DEAD_LETTER_ID)
    REVIEWS = ("r", REVIEW_KEY)
    CALLBACKS = ("c", DEAD_LETTER_ID)

    def __init__(self, letter: str, key: re.Pattern[str]) -> None:
        self.letter = letter
        self.key = key


def encode_cursor(kind: CursorKind, key: str) -> str:
    """A URL-safe string for ``key``, which must be of the kind's form."""
    return base64.urlsafe_b64encode(f"{kind.letter}{key}".encode()).decode().rstrip("=")


def decode_cursor(kind: CursorKind, cursor: str) -> str | None:
    """The key in ``cursor``; None for everything that ``encode_cursor`` would not have made of it."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    key = text[1:]
    if kind.key.fullmatch(key) is None or encode_cursor(kind, key) != cursor:
        return None
    return key


def page(
    rows: Sequence[_T], limit: int, show: Callable[[_T], dict[str, Any]], cursor: Callable[[_T], str]
) -> dict[str, Any]:
    """A page of ``rows``, which hold one more than ``limit`` when others follow."""
    shown = rows[:limit]
    return {
        "items": [show(row) for row in shown],
        "next_cursor": cursor(shown[-1]) if len(rows) > limit else None,
    }
