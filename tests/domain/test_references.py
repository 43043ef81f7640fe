"""Which references are one payment's, however they were kept: in full, masked, or masked with a code."""

from __future__ import annotations

from hashlib import sha256

import pytest

from domain.cards import masked
from domain.references import CODE_BYTES, are_same, kept

FULL, ALIKE = "4000000000010001", "4000000000430001"
NO_CARD = "1000000000070001"  # passes Luhn, which alone decided once


def coded(reference: str, key: int = 0) -> str:
    """As it is kept under a key."""
    return kept(reference, lambda text: sha256(f"{key}{text}".encode()).digest()[:CODE_BYTES])


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("A-1", "A-1"),
        (coded(FULL), coded(FULL)),
        (FULL, coded(FULL)),
        (masked(FULL), coded(FULL)),
        (coded(FULL), masked(FULL)),
        (FULL, masked(FULL)),
        (FULL, coded(ALIKE)),
        ("100000******0001", NO_CARD),
        ("100000******0001~abcdefghijklmnop", NO_CARD),
    ],
)
def test_the_same(known: str, said: str) -> None:
    """What is older than masks, codes or the rule of today is the same as whatever is masked alike."""
    assert are_same(known, said)
    assert are_same(said, known)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("A-1", "A-2"),
        (coded(FULL), coded(ALIKE)),
        (coded(FULL), coded(FULL, key=1)),
        (FULL, ALIKE),
        (masked(FULL), coded("2000000000000006")),
        ("A-1", "A-1~abcdefghijklmnop"),
        ("A*1", "A71"),
        ("100000******0001", "1000000000070002"),
        ("100000******0001", "100000a000070001"),
        ("100000******0001", f"{NO_CARD}1"),
        (FULL, "A-1"),
    ],
)
def test_others(known: str, said: str) -> None:
    """Two codes tell, and so does what is not masked at all."""
    assert not are_same(known, said)
    assert not are_same(said, known)
