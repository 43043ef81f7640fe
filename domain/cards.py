"""What reads as the number of a payment card, and how it is made unreadable. It knows no issuers: Luhn decides.

A card number is one of 13 to 19 digits of any script that passes Luhn (ISO/IEC 7812-1, annex B), in one run or in the
groups in which cards show it. The longest run counts: a piece of a longer number is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

DIGITS_MIN: Final = 13
DIGITS_MAX: Final = 19

# What separates groups, one to three of them: white space of any kind, dots, dashes, and what nobody sees.
_BETWEEN: Final = r"[\s._/\-\u00ad\u00b7\u2010-\u2015\u2212\u200b-\u200d\u2060\ufe58\ufe63\ufeff\uff0d\uff0e]{1,3}"
_GROUPS: Final = re.compile(rf"\d+(?:{_BETWEEN}\d+)*")
_DIGIT: Final = re.compile(r"\d")
_RUN: Final = re.compile(r"\d+")
# What is random by its form holds digits by chance: UUIDs, and hexadecimal ids from 24 characters on with a letter.
_RANDOM: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[0-9]*[a-f])[0-9a-f]{24,})(?![0-9A-Za-z])",
    re.ASCII | re.IGNORECASE,
)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# For the quick look at bytes: any digit is a zero, and what may stand between two is left out.
ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
BETWEEN: Final = b" \t\n\r\v\f\x1c\x1d\x1e\x1f._/-"
ENOUGH: Final = b"0" * DIGITS_MIN

_Span = tuple[int, int]


def may_hold_card(data: bytes) -> bool:
    """False when the UTF-8 text ``data`` surely holds no card number; costs a fraction of a microsecond."""
    return not data.isascii() or ENOUGH in data.translate(ZEROS, BETWEEN)


def holds_card(text: str) -> bool:
    """Whether a card number stands anywhere in ``text``."""
    if len(text) < DIGITS_MIN or (text.isascii() and not may_hold_card(text.encode("ascii"))):
        return False
    return next(_spans(text), None) is not None


def masked(text: str) -> str:
    """``text`` with asterisks for the middle of each card number, so that people can still tell which one it is.

    The last four digits stay, and of the first six as many as leave six hidden at least.
    """
    while holds_card(text):  # what is left over around one may make another with its neighbours
        characters = list(text)
        for start, end in _spans(text):
            places = [match.start() for match in _DIGIT.finditer(text, start, end)]
            for place in places[min(6, len(places) - 10) : -4]:
                characters[place] = "*"
        text = "".join(characters)
    return text


def masked_bytes(data: bytes) -> bytes:
    """The same for what should be UTF-8; all other bytes stay as they are, be they UTF-8 or not."""
    if not may_hold_card(data):
        return data
    return masked(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _spans(text: str) -> Iterator[_Span]:
    """Where card numbers stand; they may overlap."""
    if next(_candidates(text), None) is not None:  # rarely, so that what is random is looked for as rarely
        yield from _candidates(_RANDOM.sub(lambda match: "x" * len(match[0]), text))


def _candidates(text: str) -> Iterator[_Span]:
    """The same, with what is so by chance."""
    for groups in _GROUPS.finditer(text):
        if groups.end() - groups.start() < DIGITS_MIN:
            continue
        runs = [match.span() for match in _RUN.finditer(text, *groups.span())]
        for first in range(len(runs)):
            yield from _from(text, runs[first : first + 5])


def _from(text: str, runs: list[_Span]) -> Iterator[_Span]:
    """The card numbers that begin with the first of ``runs``: itself, or with those behind it."""
    digits, lengths = "", []
    start = runs[0][0]
    for begin, end in runs:
        digits += text[begin:end]
        lengths.append(end - begin)
        if len(lengths) > 1 and len(digits) > DIGITS_MAX:
            return
        if _is_grouped_as_on_cards(lengths) and _is_card_number(digits):
            yield start, end


def _is_grouped_as_on_cards(lengths: list[int]) -> bool:
    """One run; fours and a rest; a four and groups of three to seven (4-6-5, 4-3-3-3); six and all others."""
    first, *others = lengths
    if not others:
        return True
    if first == 6:
        return others in ([10], [13])
    fours = all(length == 4 for length in lengths[:-1])
    return first == 4 and (fours or all(3 <= length <= 7 for length in others))


def _is_card_number(digits: str) -> bool:
    """Luhn. Zeros before a number that is too long are none of its digits; nothing but zeros is no number at all."""
    if len(digits) > DIGITS_MAX:
        digits = digits.lstrip("0")
    if not DIGITS_MIN <= len(digits) <= DIGITS_MAX:
        return False
    numbers = [int(digit) for digit in reversed(digits)]
    total = sum(numbers[::2]) + sum(_DOUBLED[number] for number in numbers[1::2])
    return total % 10 == 0 and any(numbers)
