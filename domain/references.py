"""Gateways' references: how one that reads as a card number is kept, and which two are the same. It knows no keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from domain.cards import holds_card, masked

CODE_BYTES: Final = 8
"""How much of a code is kept behind what is masked."""

# Letters alone: with digits behind it what is masked could read as another card number.
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
_CODED: Final = re.compile(rf"(?s:(.*\*.*))~[a-p]{{{2 * CODE_BYTES}}}")


def kept(reference: str, code: Callable[[str], bytes] | None) -> str:
    """``reference`` as it may be stored: masked where it reads as a card number, with a code that tells it from others.

    ``code``: CODE_BYTES that nobody can work out who does not have its key; None without one, and masked ones that
    look alike are the same then.
    """
    if not holds_card(reference):
        return reference
    return masked(reference) if code is None else f"{masked(reference)}~{code(reference).hex().translate(_LETTERS)}"


def are_same(known: str, said: str) -> bool:
    """Whether two references are one payment's, as far as can be told of what was kept of them.

    One that was kept without a code, or in full, is the same as whatever is masked alike: of a transaction whose record
    is older than the code no more is known.
    """
    if known == said:
        return True
    if holds_card(known) and holds_card(said):
        return False
    coded = [_CODED.fullmatch(known), _CODED.fullmatch(said)]
    if all(coded) or not any("*" in each for each in (known, said)):
        return False
    shown = [each if match is None else match[1] for each, match in zip((known, said), coded, strict=True)]
    return masked(shown[0]) == masked(shown[1])
