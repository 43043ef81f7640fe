"""What reads as a card number, in whatever spelling, and what never may; what is masked holds none any more."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.cards import DIGITS_MAX, DIGITS_MIN, holds_card, masked, masked_bytes, may_hold_card

VISA, AMEX = "4111111111111111", "378282246310005"


def completed(body: str) -> str:
    """``body`` with its check digit, found by trying: the rule as the standard words it, written down anew."""

    def total(number: str) -> int:
        digits = [int(digit) for digit in number]
        for place in range(len(digits) - 2, -1, -2):
            digits[place] = digits[place] * 2 - 9 if digits[place] > 4 else digits[place] * 2
        return sum(digits)

    return next(body + digit for digit in "0123456789" if total(body + digit) % 10 == 0)


numbers = (
    st.text("0123456789", min_size=DIGITS_MIN - 1, max_size=DIGITS_MAX - 1)
    .filter(lambda body: body.strip("0") != "")
    .map(completed)
)


@given(numbers, st.sampled_from(["", "x", "id:", '{"n": "', "a card: ", "nº "]), st.sampled_from(["", "y", ".", '"}']))
def test_every_luhn_number_is_one(number: str, before: str, behind: str) -> None:
    """13 to 19 digits that pass Luhn are found in any text; with another check digit they are none."""
    assert holds_card(before + number + behind)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not holds_card(before + wrong + behind)


@given(numbers, st.sampled_from([" ", "-", ".", "_", "/", "\t", "\u00a0", "\u2009", "\u2013", "\u200b", " - "]))
def test_groups_of_four_are_one(number: str, between: str) -> None:
    """As cards show it: fours, and what is left over."""
    assert holds_card(between.join(number[place : place + 4] for place in range(0, len(number), 4)))


@pytest.mark.parametrize(
    "text",
    [
        "3782 822463 10005",
        "3782-822463-10005",
        "3056 930902 5904",
        "4222-222-222-222",
        f"503615 {completed('503615' + '0' * 12)[6:]}",
        "12/29 4111 1111 1111 1111 123",
        "1111 4111 1111 1111 1111",
        "\uff14" + "\uff11" * 15,
        "\u0664" + "\u0661" * 15,
        "00000000000000004111111111111111",
        "order_4111111111111111_7",
        '{"card":4111111111111111}',
        "\uff10" * 8 + VISA,
    ],
)
def test_other_spellings(text: str) -> None:
    """4-6-5, 4-6-4, 4-3-3-3, 6-13, among other groups, in other scripts, behind zeros, in the middle of words."""
    assert holds_card(text)
    assert may_hold_card(text.encode())
    assert not holds_card(masked(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "411111111111111",
        "4111111111111112",
        "41111111111111111111",
        VISA * 2,
        "0" * 16,
        "4111 1111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "+49 30 123456789",
        "+1 (800) 555-0199",
        "+44 20 7946 0958",
        "100.00",
        "1000000000000",
        "10000000000.00",
        "2026-11-22T13:48:48.984581Z",
        "d41d8cd98f00b2044111111111111111",
        "01a20384-4111-7111-8111-111111111111",
    ],
)
def test_what_is_none(text: str) -> None:
    """Other numbers, zeros, telephones, the largest amounts, times, random ids with digits in a row."""
    assert not holds_card(text)
    assert masked(text) == text


@given(
    st.uuids(), st.sampled_from(["{}", "cus_{}", "main:{}", "{}.12", "/v1/transactions/{}/resolution", "12-{}", "{}-7"])
)
@example(UUID("abcd4111-1111-1111-1111-a11111111111"), "{}")
@example(UUID("abcd4111-1111-1111-1111-a11111111111"), "12-{}")
def test_no_uuid_is_one(uuid: UUID, around: str) -> None:
    """Ids are never refused by chance."""
    assert not holds_card(around.format(uuid))
    assert not holds_card(around.format(uuid).upper())


@pytest.mark.parametrize("length", [24, 32, 40, 64])
@pytest.mark.parametrize("card", [VISA, AMEX, "4222222222222"])
def test_no_hexadecimal_id_is_one(length: int, card: str) -> None:
    """Nor is a hexadecimal id of 24 characters or more, whatever digits stand in it in a row; a shorter one may be."""
    rest = "a" * (length - len(card))
    for text in (f"{card}{rest}", f"{rest}{card}", f"req-{rest[1:]}{card}a".upper(), f"00-{rest}{card}-01"):
        assert not holds_card(text)
    assert holds_card(f"{card}aaa")
    assert holds_card(f"{rest}{card} {card}")


@given(
    st.datetimes(),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_no_time_is_one(at: datetime, precision: str) -> None:
    """RFC 3339, with and without fractions, with T or a blank."""
    text = at.replace(tzinfo=UTC).isoformat(timespec=precision)
    assert not holds_card(text)
    assert not holds_card(text.replace("T", " "))


@given(st.lists(st.one_of(numbers, st.text("0123456789 -.x\uff11\u0663", max_size=12)), max_size=8).map("".join))
def test_what_is_masked_holds_none(text: str) -> None:
    """Whatever stands around it: same length, six digits hidden at least, nothing but digits replaced."""
    shown = masked(text)
    assert not holds_card(shown)
    assert len(shown) == len(text)
    assert all(new == old or (new == "*" and old.isdecimal()) for old, new in zip(text, shown, strict=True))
    assert holds_card(text) == (shown != text)
    assert not holds_card(text) or shown.count("*") >= 6


def test_what_is_left_over_makes_no_other() -> None:
    """The last four digits of one and the groups behind it read as another: masked as well."""
    other = completed("111141111111111")
    text = f"{VISA} {other[4:8]} {other[8:12]} {other[12:]}"
    assert masked(text).count("*") == 12
    assert not holds_card(masked(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (VISA, "411111******1111"),
        (AMEX, "37828******0005"),
        ("4222222222222", "422******2222"),
        ("pay 4111 1111 1111 1111 now", "pay 4111 11** **** 1111 now"),
        ("\uff14" + "\uff11" * 15, "\uff14" + "\uff11" * 5 + "******" + "\uff11" * 4),
    ],
)
def test_what_stays(text: str, shown: str) -> None:
    """The last four digits, and of the first six as many as leave six hidden."""
    assert masked(text) == shown


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_bytes_stay_as_they_are_around_it(before: bytes, behind: bytes) -> None:
    """What is no UTF-8 is kept as well."""
    before, behind = before + b"\xff", b"\xff" + behind
    shown = masked_bytes(before + VISA.encode() + behind)
    assert VISA.encode() not in shown
    assert shown == masked_bytes(before) + b"411111******1111" + masked_bytes(behind)


@given(st.text(max_size=60), numbers)
def test_the_quick_look_misses_none(text: str, number: str) -> None:
    """What it lets pass holds none."""
    for each in (text, text + number, number[:4] + "-" + number[4:8] + " " + number[8:]):
        assert may_hold_card(each.encode("utf-8", "replace")) or not holds_card(each)


def is_grouped(lengths: list[int]) -> bool:
    """Whether cards show their digits like this: the rule in words of its own."""
    first, *others = lengths
    fours = all(length == 4 for length in lengths[:-1])
    threes = all(3 <= length <= 7 for length in others)
    return not others or (first == 4 and (fours or threes)) or (first == 6 and others in ([10], [13]))


@given(st.lists(st.sampled_from([1, 3, 4, 4, 4, 5, 6, 7, 9, 10, 13, 15, 19, 20]), min_size=1, max_size=7), st.data())
@example([4, 4, 4, 4, 4], None)
def test_the_groups_of_cards_and_no_others(lengths: list[int], data: st.DataObject | None) -> None:
    """Wherever groups begin and end among others, the rule told group by group finds the same."""
    runs = [
        "1" * length if data is None else data.draw(st.text("0123456789", min_size=length, max_size=length))
        for length in lengths
    ]
    numbers = [
        "".join(runs[begin:end])
        for begin in range(len(runs))
        for end in range(begin + 1, min(begin + 5, len(runs)) + 1)
        if is_grouped(lengths[begin:end])
    ]
    expected = any(
        DIGITS_MIN <= len(number) <= DIGITS_MAX and number.strip("0") and completed(number[:-1]) == number
        for number in [*numbers, *(run.lstrip("0") for run in runs)]
    )
    for between in (" ", " - ", "\u2009"):
        assert holds_card(between.join(runs)) == expected
        assert not holds_card("-x-".join(runs)) or any(holds_card(run) for run in runs)


@pytest.mark.parametrize("text", ["1 " * 30_000, "1.1/" * 1_000, "123 45-" * 8_000, "1111 1 " * 9_000, "1" * 60_000])
def test_what_has_no_groups_of_cards_costs_no_steps(text: str) -> None:
    """However many digits there are: the search is one of the regular expression, which nobody can make go back."""
    steps = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        found = holds_card(text)
    finally:
        sys.setprofile(None)
    assert not found
    assert steps < 50
