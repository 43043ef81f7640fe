"""How often values that are not card numbers are detected as one: the rates of docs/decisions/0012-card-numbers.md."""

from __future__ import annotations

import random

import pytest

from domain.cards import holds_card, masked
from tests.domain.card_numbers import INNOCENT

DRAWN = 4_000


@pytest.mark.parametrize("kind", INNOCENT)
def test_false_alarms(kind: str) -> None:
    """The share of false alarms does not exceed the limit of the decision.

    Values that are not refused are not masked.
    """
    draw, most = INNOCENT[kind]
    chance = random.Random(20_261_129)
    values = [draw(chance) for _ in range(DRAWN)]
    refused = [value for value in values if holds_card(value)]
    assert len(refused) <= most * DRAWN, refused[:5]
    assert [value for value in values if masked(value) != value] == refused
