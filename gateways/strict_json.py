"""JSON objects from outside, read so that nothing is guessed: one meaning per text, one kind of error."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final, NoReturn


class MalformedError(ValueError):
    """The bytes are not one acceptable JSON object; the text repeats none of them."""


def parse_object(data: bytes) -> dict[str, object]:
    """Read the JSON object in ``data``.

    Raises MalformedError, and nothing else, for bytes that are not UTF-8, other JSON values, a name that comes twice
    (parsers disagree on which one counts), ``NaN`` and ``Infinity``, and nesting beyond what can be read. Numbers with
    a fraction or an exponent become ``Decimal``, never infinite.
    """
    try:
        value: object = _DECODER.decode(data.decode("utf-8"))
    except MalformedError:
        raise
    except (ValueError, ArithmeticError):
        raise MalformedError("not JSON") from None
    except RecursionError:
        raise MalformedError("nested too deeply") from None
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedError("a name that comes twice")
    return value


def _constant(_text: str) -> NoReturn:
    raise MalformedError("a number that is none")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=Decimal)
