"""Card numbers of the networks by prefix and length. This module searches no text.

Sources: ISO/IEC 7812-1 (structure, check digit), the published ranges of the networks as collected in Wikipedia's
"Payment card number" and in the tables of braintree/credit-card-type. Prefixes are looked up by four digits, the
coarsest step that keeps the networks apart.

Lengths that a network allows but does not issue are left out where they cause false alarms: see
docs/decisions/0012-card-numbers.md for the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

DIGITS_MIN: Final = 13
"""Maestro allows 12 digits. Telephone numbers with 12 digits have its prefixes, so this length is left out."""
DIGITS_MAX: Final = 19

_ALL: Final = (16, 17, 18, 19)
_NETWORKS: Final[tuple[tuple[str, str, tuple[int, ...]], ...]] = (
    ("Visa, Visa Electron, V Pay", "4", (13, 16, 19)),
    ("Mastercard, Diners Club in North America", "51-55 2221-2720", (16,)),
    ("American Express", "34 37", (15,)),
    ("Discover", "6011 644-649 65", (16, 19)),
    ("Diners Club International, Hipercard", "300-305 3095 36 38 39", (14, 16, 19)),
    ("JCB, LankaPay", "3528-3589", _ALL),
    ("JCB, before 1989", "1800 2131", (15,)),
    ("UnionPay", "62 8110-8171", _ALL),
    ("Maestro, its documented ranges", "5018 5020 5038 5893 6304 6759 6761 6762 6763", (13, 14, 15, *_ALL)),
    ("Maestro, Dankort, Elo, Bancontact, girocard, Carnet", "50 56-58 60 63 67", (16, 19)),
    ("Maestro UK, Switch, Solo", "4903 4905 4911 4936 5641 6331 6333 6334 6767", (16, 18, 19)),
    ("Mir", "2200-2204", _ALL),
    ("RuPay", "508 60 65 81 82", (16,)),
    ("Verve", "5060 5061 5078 5079 6500", (16, 18, 19)),
    ("InterPayment", "636", _ALL),
    ("InstaPayment", "637-639", (16,)),
    ("UkrCard", "6040-6042", _ALL),
    ("Troy", "65 9792", (16,)),
    ("Napas", "9704", (16, 19)),
    ("Borica, PayPak", "2205", (16,)),
    ("Carnet", "2869", (16,)),
    ("Uzcard, Humo", "8600 9860", (16,)),
    ("Belkart, Prostir, mada", "9112 9804 9682", (16,)),
    # An airline's accounting code follows the 1. No airline has 000, but Facebook ids begin with 1000.
    ("UATP", "1001-1999", (15,)),
)


def _by_prefix() -> dict[bytes, tuple[int, ...]]:
    found: dict[bytes, set[int]] = {}
    for _, ranges, lengths in _NETWORKS:
        for each in ranges.split():
            first, _, last = each.partition("-")
            for prefix in range(int(first.ljust(4, "0")), int((last or first).ljust(4, "9")) + 1):
                found.setdefault(b"%04d" % prefix, set()).update(lengths)
    return {prefix: tuple(sorted(lengths)) for prefix, lengths in found.items()}


LENGTHS: Final = _by_prefix()
"""The lengths of card numbers by their first four digits, in ASCII. Other prefixes belong to no network."""

_ZERO: Final = ord("0")
# Tables for bytes: the value of an ASCII digit, and the value that Luhn gives to every second digit.
_VALUES: Final = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED: Final = bytes.maketrans(bytes(range(10)), bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


def numbers_in(digits: bytes, bounds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and last places of card numbers in ``digits``, in ASCII; they may overlap. Takes linear time.

    ``bounds``: where a number may begin or end, ascending from 0 to the last. The check digit is that of Luhn
    (ISO/IEC 7812-1, annex B). Sums are computed once, so that each check costs one subtraction.
    """
    ends = frozenset(bounds)
    sums: tuple[list[int], list[int]] | None = None
    for start, end in pairwise(bounds):
        first = start
        places = [start + length for length in LENGTHS.get(digits[start : start + 4], ())]
        if digits[start] == _ZERO:
            # Padded with zeros, as in fields of fixed width: one number up to where the next may begin.
            first = end - len(digits[start:end].lstrip(b"0"))
            places = [end] if end - first in LENGTHS.get(digits[first : first + 4], ()) else []
        for place in places:
            if place in ends:
                if sums is None:
                    values = digits.translate(_VALUES)
                    sums = _sums(values, 0), _sums(values, 1)
                counted = sums[place & 1]
                if not (counted[place] - counted[first]) % 10:
                    yield first, place


def _sums(values: bytes, doubled: int) -> list[int]:
    """The Luhn sums up to each place, with every second digit doubled, from place ``doubled`` (0 or 1) on."""
    weighed = bytearray(values)
    weighed[doubled::2] = values[doubled::2].translate(_DOUBLED)
    return [0, *accumulate(weighed)]
