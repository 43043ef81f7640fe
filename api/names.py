"""How names that a caller made up are repeated back to it: short, printable, and never a card number or a secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from api.problems import invalid
from api.secret_forms import holds_secret
from domain.cards import holds_card

_NAME_LENGTH_MAX: Final = 64
_NAME_LOOKED_AT_MAX: Final = 500
_ERRORS_MAX: Final = 50
_WITH_CARD: Final = "(a name that holds a card number)"
_WITH_SECRET: Final = "(a name that holds a secret)"  # noqa: S105 (no secret)


def printable(name: str) -> str:
    """``name`` in printable ASCII, the rest as escapes, cut when it is long.

    One that holds a card number or a secret is not repeated.
    """
    looked_at = name[:_NAME_LOOKED_AT_MAX]  # whatever begins in what is repeated ends in this
    if holds_card(looked_at):
        return _WITH_CARD
    if holds_secret(looked_at):
        return _WITH_SECRET
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


def refuse_unknown(given: Mapping[str, Any], known: Collection[str] = ()) -> None:
    """Raises ProblemError that names what is given and not known; of very many, the first."""
    unknown = [name for name in given if name not in known][:_ERRORS_MAX]
    if unknown:
        raise invalid({printable(name): ["Unknown field."] for name in unknown})


def refuse_flood(given: Mapping[str, Any], known: Collection[str]) -> None:
    """The same for so many names that a schema, which takes its time over each, need not see them to refuse them."""
    if len(given) > len(known) + _ERRORS_MAX:
        refuse_unknown(given, known)
