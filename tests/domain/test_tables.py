"""The tables by which decide, evolve and the codec dispatch are complete."""

from __future__ import annotations

from typing import get_args

from domain.commands import Command
from domain.events import EVENT_TYPES, TYPE_NAMES, Event
from domain.state_machine import DECISIONS, EVOLUTIONS
from store import codec


def test_each_command_has_a_decision() -> None:
    """A command without a decision would fail at its first use."""
    assert set(DECISIONS) == set(get_args(Command))


def test_each_event_is_named_folded_encoded_and_decoded() -> None:
    """An event that is missing in a table could not be stored or not be read back."""
    events = set(get_args(Event))
    assert set(EVOLUTIONS) == events
    assert {cls for cls, _ in TYPE_NAMES} == events
    assert {cls for cls, _ in EVENT_TYPES.values()} == events
    assert set(codec._ENCODERS) == events
    assert set(codec._DECODERS) == events
