"""Card data and secrets in requests: refused wherever they stand, named by their field, and never repeated.

A verification code cannot be told by its value, so the names by which it goes are refused whatever they hold.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import falcon

from api.names import printable
from api.problems import NOT_FOUND, ProblemError, invalid
from api.secret_forms import holds_secret, may_hold_secret
from domain.cards import DIGITS_MAX, holds_card, may_hold_card
from domain.strict_json import Duplicated

HOLDS_CARD: Final = "Holds a card number. None is taken here."
HOLDS_SECRET: Final = "Holds a secret, such as an API key. None is taken here."  # noqa: S105 (no secret)
TOO_LONG: Final = "Longer than anything that is taken here."
_NOT_TAKEN: Final = "card verification data is not taken here."

TEXT_LENGTH_MAX: Final = 500
"""How long a text may be that is looked at, in characters: no field takes a longer one."""
TEXTS_LENGTH_MAX: Final = 24_000
"""The same of all texts of a body, names included: 20 details with their names, and all other fields."""
ADDRESS_LENGTH_MAX: Final = 500
"""The same of an address: an id has at most 200 characters, and no address more than one."""

_KIND: Final = "(?:credit|debit|payment)?card"
_CODE: Final = "(?:code|data|no|num|number|value)"
# Of a name without its separators, in lower case.
_VERIFICATION: Final = re.compile(
    rf"(?:{_KIND})?(?:(?:cav|csc|cvc|cvd|cvn|cvv)[0-9]?{_CODE}?|security{_CODE})"
    rf"|{_KIND}(?:authentication|identification|validation|verification){_CODE}"
)
_AMOUNT: Final = "amount"
_DECIMAL: Final = re.compile(r"-?[0-9]+\.[0-9]+")
_SEPARATORS: Final = re.compile(r"[\W_]+")


def unwanted_in(*texts: str) -> list[str]:
    """What stands in ``texts`` that must not, as a caller is told: nothing, a card number, a secret, or both."""
    found = [HOLDS_CARD] if any(map(holds_card, texts)) else []
    return [*found, HOLDS_SECRET] if any(map(holds_secret, texts)) else found


def refuse_unwanted(members: Mapping[str, Any], data: bytes) -> None:
    """Raises ProblemError that names each of ``members``, the JSON object in ``data``, in which such a thing stands."""
    wrong: dict[str, list[str]] = {}
    # An escape may hide digits and letters; without one they stand in the bytes as they are.
    suspicious = b"\\" in data or may_hold_card(data) or may_hold_secret(data)
    left = TEXTS_LENGTH_MAX
    for name, value in members.items():
        found = []
        if suspicious:
            texts = list(_texts({name: _by_value(value) if name == _AMOUNT else value}))
            lengths = [len(text) for text in texts]
            left -= sum(lengths)
            # A search takes its time over each character, and nobody else is served meanwhile.
            found = unwanted_in(*texts) if left >= 0 and max(lengths) <= TEXT_LENGTH_MAX else [TOO_LONG]
        if isinstance(value, dict):
            found += [f"{printable(key)}: {_NOT_TAKEN}" for key in value if _is_verification(key)]
        if found:
            wrong[printable(name)] = found
        if left < 0:
            break
    if wrong:
        raise invalid(wrong)


def refuse_unwanted_in_query(params: Mapping[str, str | list[str]]) -> None:
    """The same for a query string."""
    wrong = {name: found for name, value in params.items() if (found := unwanted_in(*_texts({name: value})))}
    if wrong:
        raise invalid({printable(name): found for name, found in wrong.items()})


class UnwantedAddresses:
    """Middleware: there is nothing under an address that holds such a thing or is too long; nobody asks the store."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Raises ProblemError, which repeats nothing of the address."""
        if len(req.path) > ADDRESS_LENGTH_MAX or unwanted_in(req.path):
            raise ProblemError(NOT_FOUND, "There is nothing under this address.")


def _is_verification(name: str) -> bool:
    plain = _SEPARATORS.sub("", unicodedata.normalize("NFKC", name)).lower()
    return _VERIFICATION.fullmatch(plain) is not None


def _by_value(amount: object) -> object:
    """``amount`` without zeros at its end, which say nothing: with them 1008.0000000000 reads as a card number."""
    text = amount
    if isinstance(amount, Decimal) and amount.is_finite() and abs(amount.adjusted()) <= DIGITS_MAX:
        text = format(amount, "f")
    if isinstance(text, str) and _DECIMAL.fullmatch(text) is not None:
        return text.rstrip("0")
    return amount


def _texts(value: object) -> Iterator[str]:
    """All strings in a JSON value, names included, and its numbers as a person would write them."""
    left = [value]  # as deep as the parser lets them be nested a function could not call itself
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
