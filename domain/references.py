"""Gateways' references: the stored form of one that reads as a card number, and the comparison of two."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from domain.cards import masked

CODE_BYTES: Final = 8
"""Length of the code that is stored after a masked reference."""
_HIDDEN_MIN: Final = 6  # the least number of masked digits of a card number
# Letters only: with digits after it a masked reference could read as another card number.
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_CODED: Final = re.compile(rf"(?s:(.*\*.*))~[a-p]{{{2 * CODE_BYTES}}}")


def kept(reference: str, code: Callable[[str], bytes] | None) -> str:
    """``reference`` in its stored form: if it reads as a card number it is masked, with a code that distinguishes it.

    ``code``: CODE_BYTES that cannot be computed without its key. None without a key; equally masked references are
    then the same.
    """
    shown = masked(reference)
    if shown == reference or code is None:
        return shown
    return f"{shown}~{code(reference).hex().translate(_LETTERS)}"


def is_masked(reference: str) -> bool:
    """Whether digits of ``reference`` are masked, so that it cannot be sent back to its gateway."""
    return reference.count("*") >= _HIDDEN_MIN


def are_same(known: str, reported: str) -> bool:
    """Whether two references may belong to one payment, judged by their stored forms.

    A masked reference without a code equals every reference with the same masked form. One with a code also equals a
    reference in full with that masked form, which an earlier version or another rule for card numbers left unmasked.
    """
    if known == reported:
        return True
    coded = [_CODED.fullmatch(known), _CODED.fullmatch(reported)]
    if all(coded):
        return False
    one, other = (each if match is None else match[1] for each, match in zip((known, reported), coded, strict=True))
    if not is_masked(one) and not is_masked(other):
        return False
    return len(one) == len(other) and all(map(_may_be_same, one, other))


def are_same_bodies(known: bytes, reported: bytes) -> bool:
    """Whether two bodies of callbacks may be one message, judged by their stored forms.

    Another version of the service may have masked other digits, and left a JSON number without quotes.
    """
    if known == reported:
        return True
    if max(known.count(b"*"), reported.count(b"*")) < _HIDDEN_MIN:
        return False
    one, other = (each.replace(b'"', b"").decode("latin-1") for each in (known, reported))
    return len(one) == len(other) and all(map(_may_be_same, one, other))


def _may_be_same(one: str, other: str) -> bool:
    """Whether two characters are equal; an asterisk equals any digit."""
    return one == other or (one == "*" and other.isdigit()) or (other == "*" and one.isdigit())
