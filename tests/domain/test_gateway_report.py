"""Stored texts of reports: bounded, storable, and without card numbers, also after cutting and escaping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cards import holds_card
from domain.gateway_report import BODY_MAX, TEXT_MAX, storable_body, storable_text

CARD = "4111111111111111"


@given(st.text(st.characters(), max_size=400))
def test_a_text_can_be_stored(text: str) -> None:
    """A stored text has no U+0000, no lone surrogate and no excess length. A storable text is unchanged."""
    kept = storable_text(text)
    assert "\0" not in kept
    kept.encode()  # raises for a lone surrogate
    assert len(kept) <= TEXT_MAX
    assert storable_text(kept) == kept


@given(st.binary(max_size=300))
def test_a_body_can_be_stored(body: bytes) -> None:
    """Any bytes of a body become a storable text."""
    kept = storable_body(body * 60)
    assert "\0" not in kept
    kept.encode()  # raises for a lone surrogate
    assert len(kept) <= BODY_MAX


@pytest.mark.parametrize("text", [CARD, f"a {CARD}", f"{' ' * (TEXT_MAX - 16)}{CARD}1111", f"\0 {CARD}"])
def test_no_card_number_is_kept(text: str) -> None:
    """A stored text contains no card number, not even one that cutting the text would form."""
    assert not holds_card(storable_text(text))
    assert CARD not in storable_text(text)
    filled = " " * (BODY_MAX - 16) + f"{CARD}1111"
    assert CARD not in storable_body(filled.encode())
