"""Which references are one payment's, however they were kept: in full, masked, or masked with a code."""

from __future__ import annotations

from hashlib import sha256

import pytest

from domain.cards import masked
from domain.references import CODE_BYTES, are_same, kept

FULL, ALIKE = "1000000000070001", "1000000000150001"


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
    ],
)
def test_the_same(known: str, said: str) -> None:
    """What is older than masks or codes is the same as whatever is masked alike."""
    assert are_same(known, said)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("A-1", "A-2"),
        (coded(FULL), coded(ALIKE)),
        (coded(FULL), coded(FULL, key=1)),
        (FULL, ALIKE),
        (masked(FULL), coded("2000000000000006")),
        ("A-1", "A-1~abcdefghijklmnop"),
        (FULL, "A-1"),
    ],
)
def test_others(known: str, said: str) -> None:
    """Two codes tell, and so does what is not masked at all."""
    assert not are_same(known, said)
    assert not are_same(said, known)
