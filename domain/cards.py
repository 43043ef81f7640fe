"""Detection and masking of payment card numbers.

A card number has the prefix and length of a known network (``domain.card_networks``) and passes Luhn. Any run
of characters that are neither letters nor digits may break it at any place. It begins and ends at the bounds of runs of
digits; other text around it does not matter. Digits of any script count by their Unicode values.

Where a number is refused (``holds_card``), no letter may be adjacent: ids with letters at their digits are accepted.
Where it is masked (``masked``: texts of providers, and logs), letters may be adjacent. Everything that is refused would
be masked. See docs/decisions/0012-card-numbers.md for the rates at which either rule is wrong.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from typing import Final

from domain.card_networks import DIGITS_MAX, DIGITS_MIN, numbers_in
from domain.innocent_forms import is_innocent_list, without_innocent

__all__ = ["BETWEEN", "DIGITS_MAX", "DIGITS_MIN", "ENOUGH", "ZEROS", "holds_card", "masked", "may_hold_card"]

# For the fast check of bytes: every digit becomes a zero, and characters that may separate digits are removed.
ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
BETWEEN: Final = bytes(code for code in range(128) if not chr(code).isalnum())
ENOUGH: Final = b"0" * DIGITS_MIN

# In the plain form of a text each character is an ASCII digit or one of these.
_SEPARATOR, _ASTERISK, _LETTER, _BREAK = "-", "*", "x", "|"
_DASH: Final = ord(_SEPARATOR)
_KINDS: Final = bytes(
    ord(char if char in "0123456789*" else _LETTER if char.isalpha() else _SEPARATOR) for char in map(chr, range(128))
) + bytes(128)
_ASTERISKS: Final = re.compile(rb"\*(?:-*+\*){5}")
_TOUCHED: Final = re.compile(rb"(?<!\d)(?:(?<=x)\d++|\d++(?=x))")
_RUN: Final = re.compile(rb"\d(?:-*+\d){%d,}+" % (DIGITS_MIN - 1))

_MIDDLE_MIN: Final = 6
_LAST: Final = 4
_FIRST_MAX: Final = 6

_Found = tuple[int, bytes, Iterable[tuple[int, int]]]
"""The place of a run of digits and separators in a text, its plain form, and the card numbers by digits."""


def may_hold_card(data: bytes) -> bool:
    """False when the UTF-8 text ``data`` certainly holds no card number; costs about a microsecond."""
    return not data.isascii() or ENOUGH in data.translate(ZEROS, BETWEEN)


def holds_card(text: str) -> bool:
    """Whether ``text`` holds a card number with no letter or digit directly before or after it."""
    return _may_hold(text) and next(_found(text, touched=False), None) is not None


def masked(text: str) -> str:
    """``text`` with asterisks for the middle of each card number, so that people can still identify it.

    Letters may be adjacent. The last four digits stay, and of the first six as many as leave six hidden. If the
    remaining digits and their neighbours form another card number, no digit stays.
    """
    if not _may_hold(text):
        return text
    shown = _hidden(text, whole=False)
    return text if shown is text else _hidden(shown, whole=True)


def _may_hold(text: str) -> bool:
    return len(text) >= DIGITS_MIN and (not text.isascii() or may_hold_card(text.encode("ascii")))


def _hidden(text: str, *, whole: bool) -> str:
    """``text`` with asterisks for card numbers, or for their middles; the same object when it holds none."""
    characters: list[str] | None = None
    for begin, run, numbers in _found(text, touched=True):
        changes = [0] * (len(run) + 1)  # per digit: how many numbers begin to hide it, minus those that end
        for start, end in numbers:
            first, last = (0, 0) if whole else (min(_FIRST_MAX, end - start - _LAST - _MIDDLE_MIN), _LAST)
            changes[start + first] += 1
            changes[end - last] -= 1
        characters = characters or list(text)
        places = (begin + place for place, char in enumerate(run) if char != _DASH)
        for place, hides in zip(places, accumulate(changes), strict=False):
            if hides:
                characters[place] = _ASTERISK
    return text if characters is None else "".join(characters)


def _found(text: str, *, touched: bool) -> Iterator[_Found]:
    """The card numbers in the text; ``touched``: also those with adjacent letters. Takes linear time."""
    if next(_looked_for(_plain(text, touched=touched)), None) is None:
        return
    # This is rare, so that the search for innocent forms is rare as well.
    for begin, run, numbers in _looked_for(_plain(without_innocent(text), touched=touched)):
        if not is_innocent_list(text[begin : begin + len(run)]):
            yield begin, run, numbers


def _looked_for(plain: bytes) -> Iterator[_Found]:
    for match in _RUN.finditer(plain):
        run = match[0]
        bounds = [0, *accumulate(map(len, filter(None, run.split(b"-"))))]
        numbers = numbers_in(run.replace(b"-", b""), bounds)
        first = next(numbers, None)
        if first is not None:
            yield match.start(), run, chain([first], numbers)


def _plain(text: str, *, touched: bool) -> bytes:
    """The plain form of ``text``, character for character."""
    if not text.isascii():
        text = text.translate({ord(char): _kind(char) for char in set(text) if not char.isascii()})
    plain = text.encode("ascii").translate(_KINDS)
    if plain.count(b"*") >= _MIDDLE_MIN:  # so many asterisks are a mask: the digits around it are not one number
        plain = _ASTERISKS.sub(_broken, plain)
    plain = plain.replace(b"*", b"-")
    return plain if touched or b"x" not in plain else _TOUCHED.sub(_broken, plain)


def _kind(char: str) -> str:
    """The plain form of a character beyond ASCII.

    Scripts without case put no blanks between words, or attach them, so their letters may be adjacent to a number, but
    not inside it.
    """
    value = unicodedata.digit(char, None)
    if value is not None:
        return str(value)
    if char.isalpha():
        return _BREAK if char.lower() == char.upper() else _LETTER
    return _BREAK if char.isnumeric() else _SEPARATOR


def _broken(match: re.Match[bytes]) -> bytes:
    return _BREAK.encode() * len(match[0])
