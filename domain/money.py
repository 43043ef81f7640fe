"""Money as an integer of minor units and an ISO 4217 code; owns parsing and printing of amounts.

Nothing here uses binary floating point: an amount comes in as text or ``Decimal`` and leaves as text.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from domain.values import value

MINOR_UNITS_MAX: Final = 10**12
"""The largest amount that one command may move, in minor units."""

# ISO 4217:2015 with its amendments: active codes of money (no metals, funds or test codes), by number of decimals.
_TWO_DECIMALS: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
    "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD "
    "NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN "
    "SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)
_NO_DECIMALS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DECIMALS: Final = "BHD IQD JOD KWD LYD OMR TND"

EXPONENTS: Final[dict[str, int]] = {
    **dict.fromkeys(_TWO_DECIMALS.split(), 2),
    **dict.fromkeys(_NO_DECIMALS.split(), 0),
    **dict.fromkeys(_THREE_DECIMALS.split(), 3),
}
"""Number of decimals of each supported currency."""

_TEXT_OF_DIGITS: Final = b"0123456789".ljust(256)
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_STORED: Final = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)


class MoneyError(ValueError):
    """An invalid amount or currency; the text explains it to the client."""


class _NotPositiveError(MoneyError):
    """An amount is zero or less."""


@value(frozen=True, slots=True)
class Money:
    """``minor`` units (cents for USD) of ``currency``. Never negative, except in an adjustment."""

    minor: int
    currency: str

    @property
    def text(self) -> str:
        """The amount with all of its currency's decimals, such as ``100.00``."""
        return minor_to_text(self.minor, self.currency)


def minor_to_text(minor: int, currency: str) -> str:
    """Print ``minor`` units of ``currency`` with all of its decimals. Raises MoneyError for an unknown currency."""
    exponent = exponent_of(currency)
    digits = str(minor)
    if exponent == 0:
        return digits
    if minor < 0:
        return "-" + minor_to_text(-minor, currency)
    if len(digits) <= exponent:
        digits = digits.zfill(exponent + 1)
    return f"{digits[:-exponent]}.{digits[-exponent:]}"


def exponent_of(currency: str) -> int:
    """How many decimals ``currency`` has. Raises MoneyError when it is not an active ISO 4217 code."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise MoneyError("Not an ISO 4217 currency code in upper case.") from None


def parse_amount(value: str | int | Decimal, currency: str) -> Money:
    """Read a positive amount of ``currency``, by its value: JPY ``1.0`` is 1 yen.

    ``value`` is the text of a JSON string, or a JSON number parsed as ``int`` or ``Decimal``. Raises MoneyError
    when it is not a number of the grammar, not positive, too fine for the currency or above MINOR_UNITS_MAX.
    """
    exponent = exponent_of(currency)
    digits, power = _significant(_number(value, currency))
    if power < -exponent:
        raise MoneyError(f"{currency} has {exponent or 'no'} decimals.")
    minor = int(digits) * 10 ** (power + exponent)
    if minor > MINOR_UNITS_MAX:
        raise _too_large(currency)
    return Money(minor, currency)


def parse_signed(value: str | int | Decimal, currency: str) -> Money:
    """Read an amount as ``parse_amount`` does; it may be negative, but not zero."""
    try:
        if isinstance(value, str):
            negative, size = value.startswith("-"), value.removeprefix("-")
            positive: Money = parse_amount(size, currency)
        else:
            negative = not isinstance(value, bool) and value < 0
            positive = parse_amount(-value if negative else value, currency)
    except _NotPositiveError:
        raise MoneyError("Must not be zero.") from None
    return Money(-positive.minor, currency) if negative else positive


def _too_large(currency: str) -> MoneyError:
    return MoneyError(f"Above the largest amount, {minor_to_text(MINOR_UNITS_MAX, currency)} {currency}.")


def _number(value: str | int | Decimal, currency: str) -> Decimal:
    """``value`` as a positive number that is small enough for arithmetic."""
    if isinstance(value, str):
        if _AMOUNT.fullmatch(value) is None:
            raise MoneyError('Not an amount: digits with an optional fraction, such as "100.00".')
    elif isinstance(value, bool):
        raise MoneyError("Not a number.")
    elif isinstance(value, int) and value.bit_length() > 64:
        raise _too_large(currency)
    number = Decimal(value)
    if not number.is_finite():
        raise MoneyError("Not a finite number.")
    if number <= 0:
        raise _NotPositiveError("Must be greater than zero.")
    # A JSON number may be 1e999999999. The size of the request's body limits the zeros in its text.
    if number.adjusted() > 13:
        raise _too_large(currency)
    return number


def _significant(number: Decimal) -> tuple[str, int]:
    """The digits of a positive, finite ``number`` without trailing zeros, and the power of ten of the last one."""
    _, digits, power = number.as_tuple()
    assert isinstance(power, int)  # finite
    text = bytes(digits).translate(_TEXT_OF_DIGITS).decode()  # for 64 KiB of digits ten times as fast as str() of each
    significant = text.rstrip("0")
    return significant, power + len(text) - len(significant)


def parse_stored(text: str, currency: str) -> Money:
    """Read an amount that this service printed itself; negative ones and zero are fine. Raises MoneyError."""
    exponent = exponent_of(currency)
    match = _STORED.fullmatch(text)
    if match is None or len(match[3] or "") != exponent:
        raise MoneyError(f"Not an amount of {currency} as this service writes it.")
    minor = int(match[2] + (match[3] or ""))
    if match[1] and not minor:
        raise MoneyError(f"Not an amount of {currency} as this service writes it.")
    return Money(-minor if match[1] else minor, currency)
