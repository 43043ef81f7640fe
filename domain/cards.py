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
_SEPARATOR: Final = re.compile(
    r"[\s._/\-\u00ad\u00b7\u2010-\u2015\u2212\u200b-\u200d\u2060\ufe58\ufe63\ufeff\uff0d\uff0e]"
)
_FOREIGN_DIGIT: Final = re.compile(r"[^\x00-\x7f\D]")
# The groupings of cards, by how many groups they have: one; six and all others; fours and a rest; a four and groups of
# three to seven (4-6-5, 4-3-3-3). Each has its own place in the pattern, since several may begin at one digit.
_GROUPED: Final = (
    r"\d{13,}",
    r"\d{6}-(?:\d{10}|\d{13})(?!\d)|\d{4}-\d{9,15}(?!\d)",
    r"\d{4}-(?:\d{3}-\d{6,7}|\d{4}-\d{5,11}|\d{5}-\d{4,7}|\d{6,7}-\d{3,7})(?!\d)",
    r"\d{4}-(?:\d{4}-\d{4}-\d{1,7}|\d{3,7}-\d{3,7}-\d{3,7})(?!\d)",
    r"\d{4}-(?:\d{4}-\d{4}-\d{4}-\d{1,3}|\d{3,7}-\d{3,7}-\d{3,7}-\d{3,7})(?!\d)",
)
# Searches what ``_plain`` has made plain. How one begins comes first, so that a text of many short runs is passed over
# without a step of Python.
_BEGINNING: Final = r"\d{13}|\d{6}-\d{10}|\d{4}-(?:\d{9}|\d{3,8}-\d)"
_PERHAPS: Final = re.compile(
    rf"(?<!\d)(?={_BEGINNING}){''.join(f'(?=({each})|)' for each in _GROUPED)}".replace("-", "-{1,3}").encode()
)
_DIGIT: Final = re.compile(r"\d")
# What is random by its form holds digits by chance: UUIDs, and hexadecimal ids from 24 characters on with a letter.
_RANDOM: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[0-9]*[a-f])[0-9a-f]{24,})(?![0-9A-Za-z])",
    re.ASCII | re.IGNORECASE,
)
# For the quick look at bytes: any digit is a zero, and what may stand between two is left out.
ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
BETWEEN: Final = b" \t\n\r\v\f\x1c\x1d\x1e\x1f._/-"
ENOUGH: Final = b"0" * DIGITS_MIN

# Tables for bytes: of separators a dash, of a digit its value, and of a value what Luhn makes of every other one.
_DASHES: Final = bytes.maketrans(BETWEEN, b"-" * len(BETWEEN))
_VALUES: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED: Final = bytes.maketrans(bytes(range(10)), bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))

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
    """The same, with what is so by chance. Takes time in proportion to the text, whatever it holds."""
    for match in _PERHAPS.finditer(_plain(text)):
        for place, found in enumerate(match.groups(), 1):
            if found is not None and _is_card_number(found):
                yield match.span(place)


def _plain(text: str) -> bytes:
    """``text``, place for place: each digit in ASCII, a dash for each separator, and what else there is."""
    if not text.isascii():
        text = _FOREIGN_DIGIT.sub(lambda digit: str(int(digit[0])), _SEPARATOR.sub("-", text))
    return text.encode("ascii", "replace").translate(_DASHES)


def _is_card_number(plain: bytes) -> bool:
    """Luhn, of the digits in ``plain``.

    Zeros before a number in one run that is too long are none of its digits; nothing but zeros is no number at all.
    """
    digits = plain.translate(_VALUES, b"-")
    if len(digits) == len(plain) > DIGITS_MAX:
        digits = digits.lstrip(b"\0")
    if not DIGITS_MIN <= len(digits) <= DIGITS_MAX:
        return False
    total = sum(digits[::-2]) + sum(digits[-2::-2].translate(_DOUBLED))
    return total % 10 == 0 and total > 0
