"""How names that a caller made up are repeated back to it: short, printable, and never a card number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.cards import holds_card

_NAME_LENGTH_MAX: Final = 64
_ERRORS_MAX: Final = 50
_CARD: Final = "(a name that holds a card number)"


def printable(name: str) -> str:
    """``name`` in printable ASCII, the rest as escapes, cut when it is long; one with a card number is not repeated."""
    if holds_card(name):
        return _CARD
    if len(name) > _NAME_LENGTH_MAX:
        name = name[:_NAME_LENGTH_MAX] + "..."
    if name.isascii() and name.isprintable():
        return name
    return "".join(c if c.isascii() and c.isprintable() else f"\\u{{{ord(c):x}}}" for c in name)


def printable_errors(errors: Mapping[str, Any]) -> dict[str, list[str]]:
    """The messages of a schema under names that are fit to be repeated; of very many, the first."""
    return {
        printable(name): [str(message) for message in messages] for name, messages in list(errors.items())[:_ERRORS_MAX]
    }
