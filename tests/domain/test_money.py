"""Amounts: every rule of the API's grammar as a row of a table, and round trips for all values."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import (
    EXPONENTS,
    MINOR_UNITS_MAX,
    Money,
    MoneyError,
    minor_to_text,
    parse_amount,
    parse_signed,
    parse_stored,
)

GRAMMAR = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
currencies = st.sampled_from(sorted(EXPONENTS))
minor_units = st.integers(1, MINOR_UNITS_MAX)


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [
        # strings
        ("100", "USD", 100_00),
        ("100.0", "USD", 100_00),
        ("100.00", "USD", 100_00),
        ("0.01", "USD", 1),
        ("0.10", "USD", 10),
        ("1", "JPY", 1),
        ("1.0", "JPY", 1),
        ("1.000", "JPY", 1),
        ("10", "JPY", 10),
        ("1.234", "KWD", 1_234),
        ("0.001", "KWD", 1),
        ("1.5000", "USD", 1_50),
        # JSON numbers, which arrive as int or Decimal
        (1, "USD", 1_00),
        (Decimal("100.0"), "USD", 100_00),
        (Decimal("1E+2"), "USD", 100_00),
        (Decimal("1e2"), "JPY", 100),
        (Decimal("12.50e-1"), "USD", 1_25),
        (Decimal("100E-2"), "JPY", 1),
        # the largest
        ("10000000000", "USD", MINOR_UNITS_MAX),
        ("10000000000.00", "USD", MINOR_UNITS_MAX),
        ("1000000000000", "JPY", MINOR_UNITS_MAX),
        ("1000000000.000", "KWD", MINOR_UNITS_MAX),
        (1_000_000_000_000, "JPY", MINOR_UNITS_MAX),
    ],
)
def test_valid_amounts(value: str | int | Decimal, currency: str, minor: int) -> None:
    """An amount counts by its value in minor units of the currency, whatever its notation."""
    assert parse_amount(value, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    "value",
    [
        # not of the grammar
        "",
        " 1",
        "1 ",
        "1\n",
        "+1",
        "-1",
        "01",
        "00",
        "1.",
        ".5",
        "1,5",
        "1_0",
        "1e2",
        "1E2",
        "0x1",
        "NaN",
        "Infinity",
        "-0.00",
        "1.0.0",
        "\u0661",  # ARABIC-INDIC DIGIT ONE
        "\uff11",  # FULLWIDTH DIGIT ONE
        "\u00b2",  # SUPERSCRIPT TWO
        "1\x00",
        "\ud800",
        # not positive
        "0",
        "0.00",
        0,
        -1,
        Decimal(0),
        Decimal("-0"),
        Decimal("-0.01"),
        # not numbers
        True,
        False,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        # too fine
        "0.001",
        "1.001",
        Decimal("0.001"),
        Decimal("1E-3"),
        Decimal("1E-999999"),
        # too large
        "10000000000.01",
        "10000000001",
        "99999999999999999999999999",
        10_000_000_001,
        10**400,
        Decimal("1E+400"),
        Decimal("1E+999999"),
    ],
)
def test_invalid_amounts(value: str | int | Decimal) -> None:
    """Any other value is refused as an amount of USD: a MoneyError with a text for the client, and no other error."""
    with pytest.raises(MoneyError) as caught:
        parse_amount(value, "USD")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("value", "currency"), [("1.1", "JPY"), ("0.1", "JPY"), ("1.0001", "KWD"), ("0.0010001", "KWD")]
)
def test_amounts_too_fine_for_their_currency(value: str, currency: str) -> None:
    """A fraction that the currency does not have is refused; no amount is rounded."""
    with pytest.raises(MoneyError, match="decimals"):
        parse_amount(value, currency)


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDX", "XXX", "XTS", "XAU", "DEM", "\uff35SD"])
def test_invalid_currencies(currency: str) -> None:
    """Only active ISO 4217 codes in upper case are currencies; metals, test codes and former codes are not."""
    for attempt in (lambda: parse_amount("1", currency), lambda: minor_to_text(1, currency)):
        with pytest.raises(MoneyError):
            attempt()


@pytest.mark.parametrize("value", ["10000000000.01", 10**11, 10**30, Decimal("1e999999")])
@pytest.mark.parametrize("parse", [parse_amount, parse_signed])
def test_an_amount_that_is_too_large_gets_the_limit(
    parse: Callable[[str | int | Decimal, str], Money], value: str | int | Decimal
) -> None:
    """The error for an amount that is too large states the largest amount."""
    with pytest.raises(MoneyError, match=r"^Above the largest amount, 10000000000\.00 USD\.$"):
        parse(value, "USD")


@pytest.mark.parametrize("value", ["0", "-0.00", 0, Decimal("-0.0"), Decimal(0)])
def test_a_correction_of_zero_is_refused(value: str | int | Decimal) -> None:
    """A correction of zero is refused with "must not be zero", because corrections may be negative."""
    with pytest.raises(MoneyError, match=r"^Must not be zero\.$"):
        parse_signed(value, "USD")


def test_any_number_of_zeros_at_the_end() -> None:
    """Zeros after the last significant digit change nothing, however many there are."""
    assert parse_amount("1." + "0" * 60, "USD") == Money(1_00, "USD")


@pytest.mark.parametrize("value", ["1." + "0" * 600, Decimal("1." + "0" * 600)])
def test_very_many_zeros_at_the_end(value: str | Decimal) -> None:
    """The number of zeros is limited only by the size of a request's body."""
    assert parse_amount(value, "USD") == Money(1_00, "USD")


@pytest.mark.parametrize("text", ["--5.00", "1-5.00", "1._0", "1.a0", "\u00b2.00", "\u0661.00", "01.00", "-0.00"])
def test_stored_amounts_that_this_service_never_writes(text: str) -> None:
    """Only the exact form that this service prints is read back from the store; everything else is a MoneyError."""
    try:
        parse_stored(text, "USD")
    except MoneyError:
        return
    except ValueError:
        pytest.fail("another error than MoneyError")
    pytest.fail("taken")


@pytest.mark.parametrize("text", ["", "-", ".", "1", "1.0", "1.000", "x", "1,00", " 1.00"])
def test_stored_amounts_of_another_shape(text: str) -> None:
    """An amount without all decimals of its currency was not printed by this service."""
    with pytest.raises(MoneyError):
        parse_stored(text, "USD")


@given(minor_units, currencies)
def test_an_amount_survives_its_text(minor: int, currency: str) -> None:
    """A printed amount follows the grammar, has all decimals of its currency, and is read back as the same amount."""
    text = Money(minor, currency).text
    assert GRAMMAR.fullmatch(text)
    assert len(text.partition(".")[2]) == EXPONENTS[currency]
    assert parse_amount(text, currency) == parse_stored(text, currency) == Money(minor, currency)
    assert parse_amount(Decimal(text), currency) == Money(minor, currency)


@given(st.integers(-MINOR_UNITS_MAX, MINOR_UNITS_MAX), currencies)
def test_a_stored_amount_may_have_any_sign(minor: int, currency: str) -> None:
    """Adjustments store negative amounts and zero; these are read back unchanged."""
    assert parse_stored(minor_to_text(minor, currency), currency) == Money(minor, currency)


@given(minor_units, currencies, st.integers(0, 20))
def test_zeros_at_the_end_do_not_count(minor: int, currency: str, zeros: int) -> None:
    """An amount with additional zeros after it is the same amount."""
    text = minor_to_text(minor, currency)
    longer = (text if "." in text else f"{text}." if zeros else text) + "0" * zeros
    assert parse_amount(longer, currency) == Money(minor, currency)


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{0,15}\.?[0-9]{0,6}", fullmatch=True), currencies)
def test_any_text_is_read_by_its_value_or_refused(text: str, currency: str) -> None:
    """Any text is either read exactly by its value, or refused with MoneyError."""
    try:
        money = parse_amount(text, currency)
    except MoneyError:
        value = Decimal(text) if GRAMMAR.fullmatch(text) else Decimal(0)
        minor = value.scaleb(EXPONENTS[currency])
        assert not 1 <= minor <= MINOR_UNITS_MAX or minor != minor.to_integral_value()
    else:
        assert GRAMMAR.fullmatch(text)
        assert Decimal(money.text) == Decimal(text)


@given(st.decimals() | st.integers(), currencies)
def test_any_number_is_read_by_its_value_or_refused(number: Decimal | int, currency: str) -> None:
    """Any number is either read exactly by its value, or refused with MoneyError."""
    try:
        money = parse_amount(number, currency)
    except MoneyError:
        return
    assert Decimal(money.text) == number
    assert 1 <= money.minor <= MINOR_UNITS_MAX
