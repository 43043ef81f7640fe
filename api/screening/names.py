"""Field names of a request in an answer: short, printable, and never a card number or a secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from api.problems import invalid
from api.screening.sensitive_data import holds_secret
from domain.cards import holds_card

_NAME_LENGTH_MAX: Final = 64
_NAME_SEARCHED_MAX: Final = 500
_ERRORS_MAX: Final = 50
_WITH_CARD: Final = "(a name that contains a card number)"
_WITH_SECRET: Final = "(a name that contains a secret)"  # noqa: S105 (no secret)


def printable(name: str) -> str:
    """``name`` in printable ASCII: other characters are escaped, and a long name is cut.

    A name that contains a card number or a secret is replaced.
    """
    searched = name[:_NAME_SEARCHED_MAX]  # a number or secret that begins in the repeated part ends in this part
    if holds_card(searched):
        return _WITH_CARD
    if holds_secret(searched):
        return _WITH_SECRET
    if len(name) > _NAME_LENGTH_MAX:
        name = name[:_NAME_LENGTH_MAX] + "..."
    if name.isascii() and name.isprintable():
        return name
    return "".join(c if c.isascii() and c.isprintable() else f"\\u{{{ord(c):x}}}" for c in name)


def printable_errors(errors: Mapping[str, Any]) -> dict[str, list[str]]:
    """The messages of a schema under printable names; at most the first 50."""
    return {
        printable(name): [str(message) for message in messages] for name, messages in list(errors.items())[:_ERRORS_MAX]
    }


def refuse_unknown(given: Mapping[str, Any], known: Collection[str] = ()) -> None:
    """Raises ProblemError that lists the unknown names in ``given``; at most the first 50."""
    unknown = [name for name in given if name not in known][:_ERRORS_MAX]
    if unknown:
        raise invalid({printable(name): ["Unknown field."] for name in unknown})


def refuse_flood(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse very many unknown names before a schema sees them, because a schema takes time for each one."""
    if len(given) > len(known) + _ERRORS_MAX:
        refuse_unknown(given, known)
