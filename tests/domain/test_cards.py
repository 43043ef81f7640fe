"""Detection of card numbers in any spelling, values that are not card numbers, and masking."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.card_networks import LENGTHS
from domain.cards import DIGITS_MAX, DIGITS_MIN, holds_card, masked, may_hold_card
from tests.domain.card_numbers import PUBLISHED, completed, is_luhn

VISA, AMEX = "4111111111111111", "378282246310005"
SEPARATORS = [
    *[chr(code) for code in range(128) if not chr(code).isalnum()],
    "\u00a0", "\u00ad", "\u00b7", "\u2009", "\u200b", "\u2013", "\u2212", "\ufeff", "\uff0d", "\u3001",
]  # fmt: skip
SCRIPTS = [0x30, 0x660, 0x6F0, 0x966, 0xE50, 0xFF10, 0x1D7CE]
"""The digit zero in ASCII, Arabic, Persian, Devanagari, Thai, full width and mathematics."""


@st.composite
def of_networks(draw: st.DrawFn) -> str:
    """A number of any known network."""
    prefix = draw(st.sampled_from(sorted(LENGTHS))).decode()
    length = draw(st.sampled_from(LENGTHS[prefix.encode()]))
    rest = length - len(prefix) - 1
    return completed(prefix + draw(st.text("0123456789", min_size=rest, max_size=rest)))


@st.composite
def spelled(draw: st.DrawFn, number: str) -> str:
    """``number`` in some script, broken anywhere by runs of separators.

    Runs of six asterisks are left out, because they are a mask.
    """
    zero = draw(st.sampled_from(SCRIPTS))
    runs = st.lists(st.sampled_from(SEPARATORS), max_size=5).map("".join)
    parts = [chr(zero + int(digit)) + draw(runs) for digit in number[:-1]]
    return "".join(parts) + chr(zero + int(number[-1]))


numbers = of_networks()
texts = st.text(st.characters(exclude_categories=("L", "N")), max_size=12)


@pytest.mark.parametrize("number", [number for numbers in PUBLISHED.values() for number in numbers.split()], ids=str)
def test_published_numbers(number: str) -> None:
    """The networks' test numbers are detected unbroken, in fours, digit by digit, and with any one separator."""
    assert is_luhn(number)
    assert holds_card(number)
    for between in SEPARATORS:
        for step in (1, 2, 3, 4, 6):
            text = between.join(number[place : place + step] for place in range(0, len(number), step))
            assert holds_card(f"pay {text} now"), text
            assert not holds_card(masked(text)), text


@given(st.data(), numbers, texts, texts)
def test_every_spelling_is_detected(data: st.DataObject, number: str, before: str, behind: str) -> None:
    """A number of any network, in any script, broken anywhere by separators, is detected within other text."""
    text = data.draw(spelled(number))
    assert holds_card(text)
    assert holds_card(f"x {before} {text} {behind} x")
    assert may_hold_card(text.encode("utf-8", "replace"))


@given(numbers, st.sampled_from(["x", "Z", "\u00e9", "\u0436", "1", "\u0661"]))
def test_a_number_with_an_adjacent_letter_or_digit_is_accepted(number: str, touching: str) -> None:
    """With an adjacent letter or digit a number is accepted, but with an adjacent letter it is masked."""
    for text in (f"{touching}{number}", f"{number}{touching}"):
        assert not holds_card(text) or (touching.isdigit() and is_luhn(str(int(text))))
        assert touching.isdigit() or "******" in masked(text)


@given(numbers)
def test_another_check_digit_is_not_detected(number: str) -> None:
    """A number with another check digit, a missing digit, or a length that no network has is not a card number."""
    assert not holds_card(number[:-1] + str((int(number[-1]) + 1) % 10))


@given(st.text("0123456789", min_size=DIGITS_MIN - 1, max_size=DIGITS_MAX - 1).map(completed))
def test_other_prefixes_and_lengths_are_not_detected(number: str) -> None:
    """A valid check digit alone does not make a card number."""
    known = number.lstrip("0")
    assert holds_card(number) == (len(known) in LENGTHS.get(known[:4].encode(), ()))


@pytest.mark.parametrize(
    "text",
    [
        "3782 822463 10005",
        "3056 930902 5904",
        "4222-222-222-222",
        f"503615 {completed('503615' + '0' * 12)[6:]}",
        "card 4111-1111-1111-1111 exp 12/29",
        "12/29 4111 1111 1111 1111 123",
        "2026-11-29 4111 1111 1111 1111 12 29",
        "1111 4111 1111 1111 1111",
        f"{VISA} {AMEX}",
        "\uff14" + "\uff11" * 15,
        "\u2074\u00b9\u00b9\u00b9" + "\u2460" * 12,
        "00000000000000004111111111111111",
        "\uff10" * 8 + VISA,
        "order_4111111111111111_7",
        '{"card":4111111111111111}',
        "4111:1111:1111:1111",
        "4111, 1111, 1111, 1111",
        "4111 | 1111 | 1111 | 1111",
        "4111*1111*1111*1111",
        "4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1",
        f"********** {VISA} **********",
        f"\u5361\u53f7{VISA}\u3002",
        f"7: 2026-11-29T13:48:48Z {VISA} +49 151 12345670",
    ],
)
def test_other_spellings(text: str) -> None:
    """A number is detected among other groups, in other scripts, after zeros, and beside letters without case."""
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
        "1764453088984",
        "1764453088984581",
        "1764453088984581000",
        "1994123456789012480",
        "1000000000070001",
        "+49 30 123456789",
        "+49 (151) 1234-5670",
        "+4915112345670",
        "+1 (800) 555-0199",
        "+44 20 7946 0958",
        "100.00",
        "1000000000000",
        "10000000000.00",
        "19.74, 4.01, 401.55, 1,250.00, 139.16",
        "19,74; 4,01; 1.401,55; 139,16",
        "10.50.16.1:8080, 52.17.4.200:443",
        "2026-11-22T13:48:48.984581Z",
        "DE28 4552 0049 4606 7489 83",
        "411111******1111 222 3333 4444",
        "d41d8cd98f00b2044111111111111111",
        "01a20384-4111-7111-8111-111111111111",
    ],
)
def test_innocent_values_are_not_detected(text: str) -> None:
    """Other numbers, zeros, telephones, amounts, addresses, times, masked numbers and random ids are not detected."""
    assert not holds_card(text)
    assert masked(text) == text


@given(
    st.uuids(), st.sampled_from(["{}", "cus_{}", "main:{}", "{}.12", "/v1/transactions/{}/resolution", "12-{}", "{}-7"])
)
@example(UUID("abcd4111-1111-1111-1111-a11111111111"), "{}")
@example(UUID("abcd4111-1111-1111-1111-a11111111111"), "12-{}")
@example(UUID("41111111-1111-1111-1111-411111111111"), "{}")
def test_uuids_are_not_detected(uuid: UUID, around: str) -> None:
    """No UUID is refused by chance."""
    assert not holds_card(around.format(uuid))
    assert not holds_card(around.format(uuid).upper())


@pytest.mark.parametrize("length", [24, 32, 40, 64])
@pytest.mark.parametrize("card", [VISA, AMEX, "4222222222222"])
def test_hexadecimal_ids_are_not_detected(length: int, card: str) -> None:
    """A hexadecimal id is not refused whatever digits it contains; from 24 characters on it is not masked either."""
    rest = "a" * (length - len(card))
    for text in (f"{card}{rest}", f"{rest}{card}", f"req-{rest[1:]}{card}a".upper(), f"00-{rest}{card}-01"):
        assert not holds_card(text)
        assert masked(text) == text
    assert not holds_card(f"{card}aaa")
    assert masked(f"{card}aaa").count("*") >= 6
    assert holds_card(f"{rest}{card} {card}")


@given(
    st.datetimes(),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_times_are_not_detected(at: datetime, precision: str) -> None:
    """No RFC 3339 time is detected, with or without fractions, with T or a space."""
    text = at.replace(tzinfo=UTC).isoformat(timespec=precision)
    assert not holds_card(text)
    assert not holds_card(text.replace("T", " "))


pieces = st.one_of(numbers, st.text("0123456789 -.*x\uff11\u0663", max_size=12))


@given(st.lists(pieces, max_size=8).map("".join))
@example(f"{VISA} 4111 1111 1111 1")
@example("4242424242424242 424 2424 24 4242424242424242")
def test_a_masked_text_contains_no_card_number(text: str) -> None:
    """A masked text contains no card number.

    It has the same length, at least six digits are hidden, only digits change.
    """
    shown = masked(text)
    assert not holds_card(shown)
    assert masked(shown) == shown
    assert len(shown) == len(text)
    assert all(new == old or (new == "*" and old.isdigit()) for old, new in zip(text, shown, strict=True))
    changed = sum(new != old for old, new in zip(text, shown, strict=True))
    assert changed >= 6 if holds_card(text) else changed == 0 or changed >= 6


@given(st.lists(pieces, max_size=8).map("".join))
def test_everything_that_is_refused_is_masked(text: str) -> None:
    """Everything that is refused is also masked: the rule for providers' texts and logs is the wider one."""
    assert masked(text) != text or not holds_card(text)


def test_remaining_digits_form_no_other_number() -> None:
    """If the last four digits of a number and the next groups form another number, no digit of it stays."""
    other = completed("424211141111111")
    text = f"4242424242424242 {other[4:8]} {other[8:12]} {other[12:]}"
    assert holds_card(other)
    assert masked(text) == f"424242{'*' * 10} **** **** ****"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (VISA, "411111******1111"),
        (AMEX, "37828******0005"),
        ("4222222222222", "422******2222"),
        ("pay 4111 1111 1111 1111 now", "pay 4111 11** **** 1111 now"),
        ("4111:1111:1111:1111", "4111:11**:****:1111"),
        (f"c{VISA}x", "c411111******1111x"),
        (f"0000{VISA}", "0000411111******1111"),
        ("2026-11-29 4111 1111 1111 1111 12 29", "2026-11-29 4111 11** **** 1111 12 29"),
        ("\uff14" + "\uff11" * 15, "\uff14" + "\uff11" * 5 + "******" + "\uff11" * 4),
    ],
)
def test_digits_that_stay(text: str, shown: str) -> None:
    """The last four digits stay, and of the first six as many as leave six hidden."""
    assert masked(text) == shown


def expected(groups: list[str]) -> bool:
    """The rule, stated independently: consecutive groups are a network's number, or are one after leading zeros."""
    windows = ["".join(groups[begin:end]) for begin in range(len(groups)) for end in range(begin + 1, len(groups) + 1)]
    candidates = [*windows, *(group.lstrip("0") for group in groups)]
    return any(is_luhn(each) for each in candidates if len(each) in LENGTHS.get(each[:4].encode(), ()))


@given(st.lists(st.sampled_from([1, 2, 3, 4, 4, 4, 5, 6, 10, 13, 15, 16, 20]), min_size=1, max_size=9), st.data())
def test_consecutive_groups_form_a_number(lengths: list[int], data: st.DataObject) -> None:
    """A number is found wherever it begins and ends among other groups, exactly as the independent rule finds it."""
    groups = [data.draw(st.text("0123456789", min_size=length, max_size=length)) for length in lengths]
    if data.draw(st.booleans()):
        number = data.draw(numbers)
        cut = data.draw(st.integers(1, len(number) - 1))
        groups[1:1] = [number[:cut], number[cut:]]
    for between in ("#", " # ", "\u2009"):
        assert holds_card(between.join(groups)) == expected(groups)
    assert holds_card("#x#".join(groups)) == any(expected([group]) for group in groups)


@pytest.mark.parametrize(
    "group",
    [
        "1 ",
        "4 ",
        "1.1/",
        "123 45-",
        "1111 1 ",
        "1",
        "4",
        "\uff14 ",
        "1.00,",
        "1.1.1.1,",
        "4111 ",
        "AB12 ABCD ",
        "+1-",
        "1*",
    ],
)
def test_the_search_takes_linear_time(group: str) -> None:
    """Four times the text takes at most about four times the steps, and few steps per digit."""

    def steps(text: str) -> int:
        taken = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            nonlocal taken
            taken += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            masked(text)
        finally:
            sys.setprofile(None)
        return taken

    times = 16_000 // len(group)
    assert steps(group * 4 * times) < 5 * steps(group * times) + 100
    assert steps(group * times) < 5 * 16_000
