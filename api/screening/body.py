"""JSON bodies: card numbers, secrets and card verification data are refused in every field.

The answer names the top-level field and never repeats the value. A verification code cannot be recognised by its value,
so its usual names are refused whatever they hold.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from api.problems import invalid
from api.screening.names import printable
from api.screening.sensitive_data import found_in, may_hold_any
from domain.cards import DIGITS_MAX
from domain.strict_json import Duplicated

TOO_LONG: Final = "Longer than any accepted value."
_NOT_ACCEPTED: Final = "card verification data is not accepted."

TEXT_LENGTH_MAX: Final = 500
"""The longest text that is searched, in characters: no field accepts a longer one."""
TEXTS_LENGTH_MAX: Final = 24_000
"""The longest text of a body, all texts and names together: 20 details with their names, and all other fields."""

_KIND: Final = "(?:credit|debit|payment)?card"
_CODE: Final = "(?:code|data|no|num|number|value)"
# For a name without its separators, in lower case.
_VERIFICATION: Final = re.compile(
    rf"(?:{_KIND})?(?:(?:cav|csc|cvc|cvd|cvn|cvv)[0-9]?{_CODE}?|security{_CODE})"
    rf"|{_KIND}(?:authentication|identification|validation|verification){_CODE}"
)
_AMOUNT: Final = "amount"
_DECIMAL: Final = re.compile(r"-?[0-9]+\.[0-9]+")
_SEPARATORS: Final = re.compile(r"[\W_]+")


def screen_body(members: Mapping[str, Any], data: bytes) -> None:
    """Refuse sensitive data in ``members``, the JSON object in ``data``. Raises ProblemError that names each field."""
    wrong: dict[str, list[str]] = {}
    # An escape may hide digits and letters. Without escapes, they are in the bytes unchanged.
    suspicious = b"\\" in data or may_hold_any(data)
    left = TEXTS_LENGTH_MAX
    for name, value in members.items():
        found = []
        if suspicious:
            texts = list(texts_of({name: _by_value(value) if name == _AMOUNT else value}))
            lengths = [len(text) for text in texts]
            left -= sum(lengths)
            # A search takes time for each character, and the worker serves no other request meanwhile.
            found = found_in(*texts) if left >= 0 and max(lengths) <= TEXT_LENGTH_MAX else [TOO_LONG]
        if isinstance(value, dict):
            found += [f"{printable(key)}: {_NOT_ACCEPTED}" for key in value if _is_verification(key)]
        if found:
            wrong[printable(name)] = found
        if left < 0:
            break
    if wrong:
        raise invalid(wrong)


def texts_of(value: object) -> Iterator[str]:
    """All strings in a JSON value, names included, and its numbers in decimal notation."""
    left = [value]  # a recursive function could not go as deep as the parser does
    while left:
        match left.pop():
            case str(text):
                yield text
            case int(number):
                yield str(number)
            case Decimal() as number:
                yield str(number)
                if number.is_finite() and abs(number.adjusted()) <= DIGITS_MAX:
                    yield format(number, "f")
            case dict(members):
                left += members
                left += members.values()
            case list(items):
                left += items
            case Duplicated(name=name):
                yield name


def _is_verification(name: str) -> bool:
    if name.isascii() and "c" not in name.lower():  # every such name has a "c"
        return False
    plain = _SEPARATORS.sub("", unicodedata.normalize("NFKC", name)).lower()
    return _VERIFICATION.fullmatch(plain) is not None


def _by_value(amount: object) -> object:
    """``amount`` without trailing zeros, which carry no value: with them, 1008.0000000000 reads as a card number."""
    text = amount
    if isinstance(amount, Decimal) and amount.is_finite() and abs(amount.adjusted()) <= DIGITS_MAX:
        text = format(amount, "f")
    if isinstance(text, str) and _DECIMAL.fullmatch(text) is not None:
        return text.rstrip("0")
    return amount
