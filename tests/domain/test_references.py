"""References of one payment in different stored forms: in full, masked, or masked with a code."""

from __future__ import annotations

from hashlib import sha256

import pytest

from domain.cards import masked
from domain.references import CODE_BYTES, are_same, kept

FULL, ALIKE = "4000000000010001", "4000000000430001"
NO_CARD = "1000000000070001"  # passes Luhn, the only condition of an earlier rule


def coded(reference: str, key: int = 0) -> str:
    """The reference in its stored form under a key."""
    return kept(reference, lambda text: sha256(f"{key}{text}".encode()).digest()[:CODE_BYTES])


@pytest.mark.parametrize(
    ("known", "reported"),
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
def test_references_of_one_payment(known: str, reported: str) -> None:
    """A reference that is stored without mask or without code equals every reference with the same masked form."""
    assert are_same(known, reported)
    assert are_same(reported, known)


@pytest.mark.parametrize(
    ("known", "reported"),
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
def test_references_of_different_payments(known: str, reported: str) -> None:
    """References with different codes differ, and so do unequal references that are not masked."""
    assert not are_same(known, reported)
    assert not are_same(reported, known)
