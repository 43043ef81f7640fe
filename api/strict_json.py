"""JSON as this service takes it: RFC 8259 and nothing beyond it, numbers exact, no name twice.

Knows no fields; what the values must be is the schemas' business.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Final

# Longer ones are read as Decimal: exact and in linear time, where int() of many digits is neither allowed nor cheap.
_INT_DIGITS_MAX: Final = 40


class JsonError(ValueError):
    """The text is not strict JSON. The message says where, and repeats nothing of the text."""


class Duplicated:
    """Stands where an object stood that has ``name`` more than once: no field takes it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def parse(data: bytes) -> object:
    """The value of ``data`` with numbers as ``int`` or ``Decimal``. Raises JsonError.

    A number that even ``Decimal`` cannot hold becomes an infinity, and an object with a duplicated name becomes
    ``Duplicated``, so that the schemas can say which field is wrong.
    """
    try:
        return _DECODER.decode(data.decode())
    except UnicodeDecodeError as error:
        raise JsonError(f"Not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"Not JSON at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise JsonError("Nested too deeply.") from None


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INT_DIGITS_MAX else Decimal(text)


def _fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Duplicated:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return Duplicated(name)
        seen.add(name)
    raise AssertionError("fewer names than pairs, but none twice")


def _no_constant(_: str) -> None:
    raise JsonError("NaN and infinities are not JSON.")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_no_constant
)
