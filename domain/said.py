"""What a gateway said and what was on record then, kept with a review for the people who act on it.

Everything here is text for people. Nothing is decided by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.cards import masked

TEXT_MAX: Final = 255
"""Characters kept of a member."""
BODY_MAX: Final = 4096
"""Characters kept of a body."""

# U+0000 and halves of characters: PostgreSQL and UTF-8 have no place for them.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Source(StrEnum):
    """By which way it was said."""

    CALLBACK = "callback"
    ANSWER = "answer"
    LOOKUP = "lookup"


@dataclass(frozen=True, slots=True)
class Said:
    """What ``gateway`` said at ``at``; None for what it did not say, or said in no text.

    ``event_id`` is the callback's, ``reference`` the one of ours that it named, ``gateway_reference`` its own.
    ``body`` is the beginning of the callback's body, ``body_bytes`` the length of all of it.
    """

    source: Source
    gateway: str
    at: datetime
    event_id: str | None = None
    reference: str | None = None
    gateway_reference: str | None = None
    status: str | None = None
    code: str | None = None
    amount: str | None = None
    currency: str | None = None
    message: str | None = None
    body: str | None = field(default=None, repr=False)
    body_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What was on record of the transaction when the review was opened."""

    gateway: str
    status: str
    amount: str
    currency: str
    gateway_reference: str | None = None


def plain(text: str, length_max: int = TEXT_MAX) -> str:
    """``text`` as it may be stored: card numbers masked, unstorable characters escaped, cut to ``length_max``."""
    shown = _UNSTORABLE.sub(_escape, masked(text))
    # What was escaped or cut may read as a card number now.
    return masked(masked(shown)[:length_max])


def plain_body(body: bytes) -> str:
    """The beginning of ``body`` as text, stored as ``plain`` stores it; bytes that are no UTF-8 are escaped."""
    return plain(body[: 4 * BODY_MAX].decode("utf-8", "backslashreplace"), BODY_MAX)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}"
