"""Pages of lists. A cursor is opaque: the kind of list and the key of the last item, never an offset.

It carries the generation of the store, which increases with each restore to an earlier state.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar

from api.patterns import DEAD_LETTER_ID, EVENT_KEY, GATEWAY_NAME, REVIEW_KEY, TRANSACTION_ID, VERSION

_T = TypeVar("_T")


class CursorKind(Enum):
    """The lists that have pages: the letter in their cursors, and the form of their keys."""

    TRANSACTIONS = ("t", TRANSACTION_ID)
    VERSIONS = ("v", VERSION)
    GATEWAYS = ("g", GATEWAY_NAME)
    DEAD_LETTERS = ("d", DEAD_LETTER_ID)
    REVIEWS = ("r", REVIEW_KEY)
    CALLBACKS = ("c", DEAD_LETTER_ID)
    EVENTS = ("e", EVENT_KEY)

    def __init__(self, letter: str, key: re.Pattern[str]) -> None:
        self.letter = letter
        self.key = key


_GENERATION: Final = re.compile(r"([1-9][0-9]{0,8})~(.*)")


class Place(NamedTuple):
    """Where a page begins: after the item with this key, in this generation of the store."""

    key: str
    generation: int = 0


def encode_cursor(kind: CursorKind, key: str, generation: int = 0) -> str:
    """Encode ``key``, which must have the kind's form, as a URL-safe string."""
    text = f"{kind.letter}{generation}~{key}" if generation else f"{kind.letter}{key}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(kind: CursorKind, cursor: str) -> Place | None:
    """Decode ``cursor``; None for a text that ``encode_cursor`` does not make."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    later = _GENERATION.fullmatch(text[1:])
    place = Place(text[1:]) if later is None else Place(later[2], int(later[1]))
    if kind.key.fullmatch(place.key) is None or encode_cursor(kind, *place) != cursor:
        return None
    return place


def page(
    rows: Sequence[_T], limit: int, show: Callable[[_T], dict[str, Any]], cursor: Callable[[_T], str]
) -> dict[str, Any]:
    """Make a page of ``rows``, which are more than ``limit`` when another page follows."""
    shown = rows[:limit]
    return {
        "items": [show(row) for row in shown],
        "next_cursor": cursor(shown[-1]) if len(rows) > limit else None,
    }
