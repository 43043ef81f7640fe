"""The marshmallow fields of this API: each validates one kind of value and has its own OpenAPI keywords."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from marshmallow import ValidationError, fields

from api.paging import CursorKind, Place, decode_cursor
from api.screening.names import printable
from domain.money import MoneyError, exponent_of
from domain.strict_json import Duplicated

DETAILS_MAX: Final = 20
DETAIL_LENGTH_MAX: Final = 500
REASON_LENGTH_MAX: Final = 500
LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50

# Control characters (Unicode category Cc) and surrogates, which JSON can spell but UTF-8 cannot.
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Control characters and surrogates for the document, which cannot contain surrogates.
_FIT: Final = r"[^\x00-\x1f\x7f-\x9f]*"
_NOT_BLANK: Final = rf"^{_FIT}[^\s\x00-\x1f\x7f-\x9f]{_FIT}$"

POSITION_MAX: Final = 2**63 - 1
WAIT_MAX_S: Final = 30

_NOT_ZERO: Final = r"(?![0.]+$)"
_POSITION: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_WAIT: Final = re.compile(r"[0-9]{1,2}(\.[0-9]{1,32})?([eE]-[0-9]{1,3})?")
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,2}")
# https://www.rfc-editor.org/rfc/rfc3339#section-5.6; groups: up to the minutes, seconds, fraction, offset.
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}):([0-9]{2})(?:\.([0-9]{1,32}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_T = TypeVar("_T")


class Value(fields.Field[_T]):
    """A field that is read in one step, without further validators."""

    @property
    def reader(self) -> Callable[[Any], _T]:
        """Converts a value that is given and not null. Raises ValidationError."""
        return self._read

    def _read(self, value: Any) -> _T:
        """Convert ``value``. Raises ValidationError."""
        raise NotImplementedError

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> _T:  # noqa: ARG002  # marshmallow's
        return self._read(value)

    def _validate(self, value: Any) -> None:
        """Skip: ``_read`` validates."""


class Amount(Value[str | int | Decimal]):
    """A number, or a number as text. Whether it is a valid amount depends on the currency."""

    def __init__(self, **kwargs: Any) -> None:
        number = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 10**12}
        text = {"type": "string", "pattern": rf"^{_NOT_ZERO}(0|[1-9][0-9]*)(\.[0-9]+)?$", "maxLength": 64}
        super().__init__(**_described(kwargs, oneOf=[number, text]))

    def _read(self, value: Any) -> str | int | Decimal:
        if type(value) in (Decimal, str, int):
            amount: str | int | Decimal = value
            return amount
        raise ValidationError("Not a number.")


class SignedAmount(Amount):
    """An amount that may be negative."""

    def __init__(self, **kwargs: Any) -> None:
        number = {"type": "number", "minimum": -(10**12), "maximum": 10**12, "not": {"enum": [0]}}
        text = {"type": "string", "pattern": rf"^-?{_NOT_ZERO}(0|[1-9][0-9]*)(\.[0-9]+)?$", "maxLength": 64}
        super(Amount, self).__init__(**_described(kwargs, oneOf=[number, text]))


class Text(Value[str]):
    """A string that matches the whole ``pattern``; ``wrong`` is the message for any other string."""

    def __init__(self, pattern: re.Pattern[str], wrong: str, **kwargs: Any) -> None:
        super().__init__(**_described(kwargs, type="string", pattern=f"^{pattern.pattern}$"))
        self._fits = pattern.fullmatch
        self._wrong = wrong

    def _read(self, value: Any) -> str:
        if isinstance(value, str) and self._fits(value):
            return value
        raise ValidationError(self._wrong if isinstance(value, str) else "Not a string.")


class Reason(Value[str]):
    """An operator's reason, a text for the record."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **_described(kwargs, type="string", minLength=1, maxLength=REASON_LENGTH_MAX, pattern=_NOT_BLANK)
        )

    def _read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        if not 1 <= len(value) <= REASON_LENGTH_MAX:
            raise ValidationError(f"Not 1 to {REASON_LENGTH_MAX} characters.")
        if not value.strip():
            raise ValidationError("Is blank.")
        if _UNFIT.search(value):
            raise ValidationError("Contains a control character or a lone surrogate.")
        return value


class Choice(Value[_T]):
    """One of a few words; ``choices`` maps each to its value."""

    def __init__(self, choices: Mapping[str, _T], **kwargs: Any) -> None:
        super().__init__(**_described(kwargs, type="string", enum=list(choices)))
        self._choices = choices

    def _read(self, value: Any) -> _T:
        if isinstance(value, str) and value in self._choices:
            return self._choices[value]
        raise ValidationError(f"Not one of: {', '.join(self._choices)}.")


class Currency(Value[str]):
    """An active ISO 4217 code."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_described(kwargs, type="string", pattern="^[A-Z]{3}$"))

    def _read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Not a string.")
        try:
            exponent_of(value)
        except MoneyError as error:
            raise ValidationError(str(error)) from None
        return value


class Details(Value[dict[str, str]]):
    """The client's own strings, passed to the gateway."""

    def __init__(self, **kwargs: Any) -> None:
        values = {"type": "string", "maxLength": DETAIL_LENGTH_MAX, "pattern": f"^{_FIT}$"}
        super().__init__(
            **_described(kwargs, type="object", additionalProperties=values, maxProperties=DETAILS_MAX),
        )

    def _read(self, value: Any) -> dict[str, str]:
        if isinstance(value, Duplicated):
            raise ValidationError(f"{printable(value.name)}: given more than once.")
        if not isinstance(value, dict):
            raise ValidationError("Not an object of strings.")
        if len(value) > DETAILS_MAX:
            raise ValidationError(f"More than {DETAILS_MAX} entries.")
        wrong = [message for key, text in value.items() if (message := _wrong_detail(key, text))]
        if wrong:
            raise ValidationError(wrong)
        return value


def _wrong_detail(key: str, text: object) -> str | None:
    if len(key) > DETAIL_LENGTH_MAX or _UNFIT.search(key):
        return f"{printable(key)}: not a name of at most {DETAIL_LENGTH_MAX} characters without control characters."
    if not isinstance(text, str):
        return f"{printable(key)}: not a string."
    if len(text) > DETAIL_LENGTH_MAX:
        return f"{printable(key)}: longer than {DETAIL_LENGTH_MAX} characters."
    if _UNFIT.search(text):
        return f"{printable(key)}: contains a control character or a lone surrogate."
    return None


class Timestamp(Value[datetime]):
    """An RFC 3339 time with its offset, converted to UTC; fractions of a microsecond are rounded up."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_described(kwargs, type="string", format="date-time"))

    def _read(self, value: Any) -> datetime:
        parts = _TIMESTAMP.fullmatch(value)
        at = parts and _instant(*parts.groups(default=""))
        if at is None:
            raise ValidationError(self._wrong(value))
        return at

    def _wrong(self, value: object) -> str:
        del value
        return 'Not an RFC 3339 time, such as "2026-01-31T12:00:00Z".'


class QueryTimestamp(Timestamp):
    """A time in a query string, where an unencoded "+" arrives as a space."""

    def _wrong(self, value: object) -> str:
        hint = ' Write a "+" in a query as %2B.' if isinstance(value, str) and " " in value else ""
        return f"{super()._wrong(value)}{hint}"


def _instant(minute: str, second: str, fraction: str, offset: str) -> datetime | None:
    """The time in UTC; None when it does not exist. Second 60 is a leap second."""
    if int(second) > 60:
        return None
    micros = -(-int(fraction.ljust(32, "0")) // 10**26)
    try:
        at = datetime.fromisoformat(f"{minute.upper()}:00{offset.upper()}").astimezone(UTC)
        return at + timedelta(seconds=int(second), microseconds=micros)
    except (ValueError, OverflowError):
        return None


class Limit(Value[int]):
    """The largest number of items on a page."""

    def __init__(self, **kwargs: Any) -> None:
        bounds = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}
        super().__init__(load_default=LIMIT_DEFAULT, **_described(kwargs, **bounds))

    def _read(self, value: Any) -> int:
        if _LIMIT.fullmatch(value) is None or int(value) > LIMIT_MAX:
            raise ValidationError(f"Not a whole number from 1 to {LIMIT_MAX}.")
        return int(value)


class Position(Value[int | None]):
    """A position among all events; 0 is before the first, None (``latest``) after the current last."""

    def __init__(self, **kwargs: Any) -> None:
        place = {"type": "integer", "minimum": 0, "maximum": POSITION_MAX}
        latest = {"type": "string", "enum": ["latest"]}
        super().__init__(load_default=0, **_described(kwargs, oneOf=[place, latest], default=0))

    def _read(self, value: Any) -> int | None:
        if value == "latest":
            return None
        if _POSITION.fullmatch(value) is None or int(value) > POSITION_MAX:
            raise ValidationError("Not a position.")
        return int(value)


class Wait(Value[float]):
    """The longest time to wait, in seconds."""

    def __init__(self, **kwargs: Any) -> None:
        bounds = {"type": "number", "minimum": 0, "maximum": WAIT_MAX_S, "default": 0}
        super().__init__(load_default=0.0, **_described(kwargs, **bounds))

    def _read(self, value: Any) -> float:
        if _WAIT.fullmatch(value) is None or float(value) > WAIT_MAX_S:
            raise ValidationError(f"Not a number of seconds from 0 to {WAIT_MAX_S}.")
        return float(value)


class Cursor(Value[Place]):
    """The ``next_cursor`` of the same kind of list; its value is the place before the page."""

    def __init__(self, kind: CursorKind, **kwargs: Any) -> None:
        words = {"pattern": "^[A-Za-z0-9_-]+$", "description": "The `next_cursor` of the previous page."}
        super().__init__(**_described(kwargs, type="string", **words))
        self._kind = kind

    def _read(self, value: Any) -> Place:
        place = decode_cursor(self._kind, value)
        if place is None:
            raise ValidationError("Not a cursor of this list.")
        return place


class EventPlace(Value[Place | None]):
    """The cursor of an event; None (``latest``) is after the current last event."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_described(kwargs, type="string", pattern="^[A-Za-z0-9_-]+$"))

    def _read(self, value: Any) -> Place | None:
        if value == "latest":
            return None
        place = decode_cursor(CursorKind.EVENTS, value)
        if place is None:
            raise ValidationError("Not the cursor of an event.")
        return place


def _described(kwargs: dict[str, Any], **words: object) -> dict[str, Any]:
    """The field's arguments with OpenAPI keywords; those that the schema gives override ``words``."""
    given: Mapping[str, object] = kwargs.pop("metadata", {})
    return {**kwargs, "metadata": {**words, **given}}
