"""Gateways' references: how one that reads as a card number is kept, and which two are the same. It knows no keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from domain.cards import masked

CODE_BYTES: Final = 8
"""How much of a code is kept behind what is masked."""
_HIDDEN_MIN: Final = 6  # the least number of masked digits of a card number
# Letters alone: with digits behind it what is masked could read as another card number.
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_CODED: Final = re.compile(rf"(?s:(.*\*.*))~[a-p]{{{2 * CODE_BYTES}}}")


def kept(reference: str, code: Callable[[str], bytes] | None) -> str:
    """``reference`` as it may be stored: masked where it reads as a card number, with a code that tells it from others.

    ``code``: CODE_BYTES that nobody can work out who does not have its key; None without one, and masked ones that
    look alike are the same then.
    """
    shown = masked(reference)
    if shown == reference or code is None:
        return shown
    return f"{shown}~{code(reference).hex().translate(_LETTERS)}"


def are_same(known: str, said: str) -> bool:
    """Whether two references are of one payment, as far as their stored forms show.

    A masked reference without a code equals every reference with the same masked form. One with a code also equals a
    reference in full with that masked form, which an earlier version or another rule for card numbers left unmasked.
    """
    if known == said:
        return True
    coded = [_CODED.fullmatch(known), _CODED.fullmatch(said)]
    if all(coded):
        return False
    one, other = (each if match is None else match[1] for each, match in zip((known, said), coded, strict=True))
    if max(one.count("*"), other.count("*")) < _HIDDEN_MIN:
        return False
    return len(one) == len(other) and all(map(_may_be_same, one, other))


def are_same_bodies(known: bytes, said: bytes) -> bool:
    """Whether two bodies of callbacks are one message, as far as can be told of what was kept of them.

    Another version of the service may have hidden other digits, and left a number of JSON without quotes.
    """
    if known == said:
        return True
    if max(known.count(b"*"), said.count(b"*")) < _HIDDEN_MIN:
        return False
    one, other = (each.replace(b'"', b"").decode("latin-1") for each in (known, said))
    return len(one) == len(other) and all(map(_may_be_same, one, other))


def _may_be_same(one: str, other: str) -> bool:
    """Whether two characters are equal; an asterisk equals any digit."""
    return one == other or (one == "*" and other.isdigit()) or (other == "*" and one.isdigit())
