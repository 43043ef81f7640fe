"""Strict JSON: RFC 8259 and nothing beyond it, exact numbers, no duplicate names. This module has no field rules.

``parse`` marks duplicate names and numbers out of range, so that a schema can name the wrong field. ``parse_object``
refuses them.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn

# Longer integers become Decimal: exact and in linear time. int() refuses very many digits and is slow for many.
_INT_DIGITS_MAX: Final = 40


class MalformedError(ValueError):
    """The bytes are not strict JSON. The message states the place or the reason, and repeats none of the bytes."""


class Duplicated:
    """Replaces an object in which ``name`` occurs more than once. No field accepts it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def parse(data: bytes) -> object:
    """Read any JSON value; numbers become ``int`` or ``Decimal``. Raises MalformedError.

    A number beyond the range of ``Decimal`` becomes an infinity. An object with a duplicate name becomes
    ``Duplicated``.
    """
    return _decoded(_MARKING, data)


def parse_object(data: bytes) -> dict[str, object]:
    """Read one JSON object; numbers become ``int`` or ``Decimal``. Raises MalformedError.

    Refuses other values, duplicate names at any depth (parsers disagree on which one counts), and numbers out of range.
    """
    value = _decoded(_REFUSING, data)
    if not isinstance(value, dict):
        raise MalformedError("Not a JSON object.")
    return value


def _decoded(decoder: json.JSONDecoder, data: bytes) -> object:
    try:
        value: object = decoder.decode(data.decode())
    except UnicodeDecodeError as error:
        raise MalformedError(f"Not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise MalformedError(f"Not JSON at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise MalformedError("Nested too deeply.") from None
    return value


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _INT_DIGITS_MAX else Decimal(text)


def _fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | Duplicated:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return Duplicated(name)
        seen.add(name)
    raise AssertionError("fewer names than pairs, but no duplicate")


def _no_constant(_: str) -> NoReturn:
    raise MalformedError("NaN and infinities are not JSON.")


def _strict_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise MalformedError("A number is out of range.") from None


def _strict_fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise MalformedError("A number is out of range.") from None


def _strict_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedError("A name occurs more than once.")
    return members


_MARKING: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_no_constant
)
_REFUSING: Final = json.JSONDecoder(
    object_pairs_hook=_strict_object,
    parse_int=_strict_integer,
    parse_float=_strict_fraction,
    parse_constant=_no_constant,
)
