"""What no log line may hold, and what stands there instead: secrets by their form or value, and card numbers.

A quick look at the finished bytes lets nearly every line pass; only one that fails it is taken apart. How a card number
reads is not known here: whoever sets logging up hands that in. The known values are the process's own,
as logging is.
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
"""Known values that are shorter could be ordinary words, and are hidden only where their place tells them."""
LOOKED_AT_MAX: Final = 16_384
"""How much of one text is looked at, in characters; what is behind is cut off."""
CUT: Final = " [cut]"

_LINES_LOOKED_AT_MAX: Final = 65_536
_DEPTH_MAX: Final = 8
# What may be left of a secret or number that the cut went through.
_CUT_THROUGH_MAX: Final = 256

# Each search through a line costs a quarter of a microsecond, so one searches for three: with these letters taken for
# each other, "bea" of "bearer", "sec" of "whsec_" and "pgw" are the same. Only then each is looked for by itself.
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
    """From now on ``secrets`` stand in no log line of this process; of a URL only its password is one."""
    global _known, _known_bytes  # noqa: PLW0603 - as process-wide as logging is
    values = {each for secret in secrets for each in _values(secret) if len(each) >= LENGTH_MIN}
    with _lock:
        _known = tuple(sorted({*_known, *values}, key=len, reverse=True))
        # As a JSON text has them: what it escapes is looked for in the parts between.
        parts = (max(re.split(r"[^ !#-\[\]-~]", value), key=len) for value in _known)
        _known_bytes = tuple({part.encode("ascii") for part in parts if not part.startswith("whsec_")})


class CardRules(Protocol):
    """How card numbers are found: ``domain.cards`` is one.

    For a quick look a line's bytes are translated by ``ZEROS``, without ``BETWEEN``: no ``ENOUGH`` there, no number.
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
    """Makes lines fit to leave the process."""

    def __init__(self, cards: CardRules) -> None:
        self._table = cards.ZEROS.translate(_ALIKE)
        self._between, self._enough, self._mask_cards = cards.BETWEEN, cards.ENOUGH, cards.masked

    def is_clean(self, lines: bytes) -> bool:
        """Whether ``lines``, UTF-8, surely hold nothing that must not be seen."""
        plain = lines.translate(self._table, self._between)
        if (
            # Words that became neighbours may form a secret together, so the result is searched again.
            (_ANY_HINT in plain and _ANY_HINT in lines.translate(_ALIKE))
            or self._enough in plain
            or b"/" in lines
            or b"\\" in lines
            or b"%" in lines
            or not lines.isascii()
        ) and not self._is_clean_looked_at_again(lines):
            return False
        for known in _known_bytes:  # noqa: SIM110 - a generator for each line is dear
            if known in lines:
                return False
        return True

    def _is_clean_looked_at_again(self, lines: bytes) -> bool:
        """The same but for known values, of what the quick look did not let pass."""
        if len(lines) > _LINES_LOOKED_AT_MAX:  # each value by itself, and of each no more than its bound
            return False
        if b"://" in lines or b"\\" in lines or b"%" in lines:  # what JSON or a URL escapes cannot be seen here
            return False
        plain = lines.lower()
        if any(hint in plain for hint in _HINTS):
            return False
        text = lines.decode("utf-8", "replace")
        return self._mask_cards(text) == text

    def text(self, text: str) -> str:
        """``text`` without secrets and card numbers; of a very long one the beginning."""
        if len(text) > LOOKED_AT_MAX:
            return self._shown(text[:LOOKED_AT_MAX])[:-_CUT_THROUGH_MAX] + CUT
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
        """The members of a line's object, whatever they hold; a number that reads as a card number becomes a text."""
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
    """The forms in which ``secret`` may appear: as it is, or escaped in a URL, by Python or by JSON."""
    values = [secret]
    if "://" in secret:
        parts = urlsplit(secret)
        password = parts.password or ""
        values = [password, unquote(password)]
        values += [value for name, value in parse_qsl(parts.query) if name.endswith("password")]
    for value in values:
        yield from (value, quote(value, safe=""), repr(value)[1:-1], json.dumps(value)[1:-1])
