"""Redaction of log lines: secrets by their form or value, and card numbers.

Nearly every line passes a quick look at its bytes; only the others are searched in detail. The rules for card numbers
are an argument (``CardRules``). The known secret values belong to the process, as logging does.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Final, Protocol
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlsplit

HIDDEN: Final = "[hidden]"
LENGTH_MIN: Final = 8
"""The shortest known value that is hidden everywhere. Shorter values may be ordinary words and need a context."""
SEARCHED_MAX: Final = 16_384
"""The number of characters of a text that are searched. The rest is cut off."""
CUT: Final = " [cut]"

_LINES_SEARCHED_MAX: Final = 65_536
_DEPTH_MAX: Final = 8
# The longest possible remainder of a secret or number at the cut.
_CUT_THROUGH_MAX: Final = 256

# Each search through a line costs a quarter of a microsecond, so one search replaces three. With these letters mapped
# to each other, "bea" of "bearer", "sec" of "whsec_" and "pgw" are equal. Only a hit starts the separate searches.
_ALIKE: Final = bytes.maketrans(b"BSPbspEGegACWacw", b"xxxxxxyyyyzzzzzz")
_ANY_HINT: Final = b"xyz"
_HINTS: Final = (b"bearer", b"whsec_", b"pgw_")
_PATTERNS: Final = (
    (re.compile(r"(?i)\b(bearer)[\s:'\",]+[^\s'\",]+"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)(whsec_)[A-Za-z0-9+/=_-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)(pgw_[^\s_'\"]+)_[A-Za-z0-9+/=_.-]+"), rf"\1_{HIDDEN}"),
    (re.compile(r"(://[^\s/?#:@'\"]*):[^\s/@'\"]+@"), rf"\1:{HIDDEN}@"),
)

_WORD: Final = re.compile(r"[^\s'\"]+")

_known: tuple[str, ...] = ()
_known_bytes: tuple[bytes, ...] = ()
_lock: Final = threading.Lock()


def hide(*secrets: str) -> None:
    """Hide ``secrets`` in all further log lines of this process. Only the password of a URL is a secret."""
    global _known, _known_bytes  # noqa: PLW0603 - as process-wide as logging is
    values = {each for secret in secrets for each in _values(secret) if len(each) >= LENGTH_MIN}
    with _lock:
        _known = tuple(sorted({*_known, *values}, key=len, reverse=True))
        # As in a JSON text: the longest part without characters that JSON escapes.
        parts = (max(re.split(r"[^ !#-\[\]-~]", value), key=len) for value in _known)
        _known_bytes = tuple({part.encode("ascii") for part in parts if not part.startswith("whsec_")})


class CardRules(Protocol):
    """The rules for card numbers, such as ``domain.cards``.

    Quick look: when the bytes of a line, translated by ``ZEROS`` and without ``BETWEEN``, lack ``ENOUGH``, the line
    contains no card number.
    """

    @property
    def ZEROS(self) -> bytes: ...  # noqa: N802, D102 - a module's constants
    @property
    def BETWEEN(self) -> bytes: ...  # noqa: N802, D102
    @property
    def ENOUGH(self) -> bytes: ...  # noqa: N802, D102

    def masked(self, text: str, /) -> str:
        """``text`` without card numbers."""


class Redaction:
    """Removes secrets and card numbers from log lines."""

    def __init__(self, cards: CardRules) -> None:
        self._table = cards.ZEROS.translate(_ALIKE)
        self._between, self._enough, self._mask_cards = cards.BETWEEN, cards.ENOUGH, cards.masked

    def is_clean(self, lines: bytes) -> bool:
        """Whether ``lines``, UTF-8, certainly contain no secret and no card number."""
        plain = lines.translate(self._table, self._between)
        if (
            # Words that became neighbours may form a secret together, so the result is searched again.
            (_ANY_HINT in plain and _ANY_HINT in lines.translate(_ALIKE))
            or self._enough in plain
            or b"/" in lines
            or b"\\" in lines
            or b"%" in lines
            or not lines.isascii()
        ) and not self._is_clean_in_detail(lines):
            return False
        for known in _known_bytes:  # noqa: SIM110 - a generator for each line is dear
            if known in lines:
                return False
        return True

    def _is_clean_in_detail(self, lines: bytes) -> bool:
        """The detailed search, without known values, for lines that did not pass the quick look."""
        if len(lines) > _LINES_SEARCHED_MAX:  # too long: each value is searched by itself, up to its limit
            return False
        if b"://" in lines or b"\\" in lines or b"%" in lines:  # escapes of JSON or URLs may hide a secret
            return False
        plain = lines.lower()
        if any(hint in plain for hint in _HINTS):
            return False
        text = lines.decode("utf-8", "replace")
        return self._mask_cards(text) == text

    def text(self, text: str) -> str:
        """``text`` without secrets and card numbers; a very long text is cut."""
        if len(text) > SEARCHED_MAX:
            return self._shown(text[:SEARCHED_MAX])[:-_CUT_THROUGH_MAX] + CUT
        return text if self.is_clean(text.encode("utf-8", "replace")) else self._shown(text)

    def _shown(self, text: str) -> str:
        for value in _known:
            text = text.replace(value, HIDDEN)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        if "%" in text:
            text = _WORD.sub(self._hidden_in_url, text)
        return self._mask_cards(text)

    def _hidden_in_url(self, word: re.Match[str]) -> str:
        if "%" not in word[0]:
            return word[0]
        decoded = unquote_plus(word[0])
        return word[0] if self._mask_cards(decoded) == decoded else HIDDEN

    def members(self, members: Mapping[object, object]) -> dict[str, object]:
        """The redacted members of a line's object; a number that reads as a card number becomes a text."""
        return {self.text(str(key)): self._value(value, 1) for key, value in members.items()}

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if depth > _DEPTH_MAX:
            return HIDDEN
        if isinstance(value, dict):
            return {self.text(str(key)): self._value(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(each, depth + 1) for each in value]
        text = str(value)
        shown = self.text(text)
        return value if shown == text and isinstance(value, int | float) else shown


def _values(secret: str) -> Iterator[str]:
    """The forms in which ``secret`` may appear: plain, or escaped in a URL, by Python or by JSON."""
    values = [secret]
    if "://" in secret:
        parts = urlsplit(secret)
        password = parts.password or ""
        values = [password, unquote(password)]
        values += [value for name, value in parse_qsl(parts.query) if name.endswith("password")]
    for value in values:
        yield from (value, quote(value, safe=""), repr(value)[1:-1], json.dumps(value)[1:-1])
