"""A gateway's report and the record at that time, stored with a review for operators.

All of it is text for operators. No decision depends on it.
"""

from __future__ import annotations

import re
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.cards import masked
from domain.values import value

TEXT_MAX: Final = 255
"""Maximum number of stored characters of a member."""
BODY_MAX: Final = 4096
"""Maximum number of stored characters of a body."""

# U+0000, which PostgreSQL cannot store, and lone surrogates, which UTF-8 cannot encode.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Source(StrEnum):
    """The channel of a gateway's report."""

    CALLBACK = "callback"
    ANSWER = "answer"
    LOOKUP = "lookup"


@value(frozen=True, slots=True)
class GatewayReport:
    """The report of ``gateway`` at ``at``; None for members that are absent or not text.

    ``event_id`` is the callback's, ``reference`` our reference in it, ``gateway_reference`` the gateway's.
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


@value(frozen=True, slots=True)
class Expected:
    """The record of the transaction when the review was opened."""

    gateway: str
    status: str
    amount: str
    currency: str
    gateway_reference: str | None = None


def storable_text(text: str, length_max: int = TEXT_MAX) -> str:
    """``text`` in its stored form: card numbers masked, unstorable characters escaped, cut to ``length_max``."""
    shown = _UNSTORABLE.sub(_escape, masked(text))
    # The escaped or cut text may contain a card number.
    return masked(masked(shown)[:length_max])


def storable_body(body: bytes) -> str:
    """The beginning of ``body`` as text, stored as ``storable_text`` does; bytes that are not UTF-8 are escaped."""
    return storable_text(body[: 4 * BODY_MAX].decode("utf-8", "backslashreplace"), BODY_MAX)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}"
