"""Texts from outside as they are kept: bounded, storable, and without card numbers, whatever is done to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cards import holds_card
from domain.said import BODY_MAX, TEXT_MAX, plain, plain_body

CARD = "4111111111111111"


@given(st.text(st.characters(), max_size=400))
def test_a_text_can_be_stored(text: str) -> None:
    """No U+0000, no half of a character, no more than is kept; what is fit already stays as it is."""
    kept = plain(text)
    assert "\0" not in kept
    kept.encode()  # it raises for half of a character
    assert len(kept) <= TEXT_MAX
    assert plain(kept) == kept


@given(st.binary(max_size=300))
def test_a_body_can_be_stored(body: bytes) -> None:
    """Whatever its bytes are."""
    kept = plain_body(body * 60)
    assert "\0" not in kept
    kept.encode()  # it raises for half of a character
    assert len(kept) <= BODY_MAX


@pytest.mark.parametrize("text", [CARD, f"a {CARD}", f"{' ' * (TEXT_MAX - 16)}{CARD}1111", f"\0 {CARD}"])
def test_no_card_number_is_kept(text: str) -> None:
    """Neither one that was there nor one that the cut makes."""
    assert not holds_card(plain(text))
    assert CARD not in plain(text)
    filled = " " * (BODY_MAX - 16) + f"{CARD}1111"
    assert CARD not in plain_body(filled.encode())
