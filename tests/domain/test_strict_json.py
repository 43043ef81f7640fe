"""Strict JSON: every text has one meaning or is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.strict_json import Duplicated, MalformedError, parse, parse_object


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a": 1, "a": 1}', id="a name twice"),
        pytest.param(b'{"x": [{"a": 1, "a": 2}]}', id="a name twice, deeper"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": -Infinity}', id="infinity"),
        pytest.param(b'{"a": 1e99999999999999999999}', id="an exponent beyond everything"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", id="an integer beyond everything"),
        pytest.param(b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", id="deep lists"),
        pytest.param(b'{"a":' * 30_000 + b"1" + b"}" * 30_000, id="deep objects"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"{} {}", id="two objects"),
        pytest.param(b'{"a": "\xff"}', id="no UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', id="a byte order mark"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"a": 01}', id="a leading zero"),
        pytest.param(b'{"a": "\n"}', id="a control character"),
        pytest.param(b"<html>", id="something else"),
    ],
)
def test_refused(data: bytes) -> None:
    """A text without a meaning, or with more than one, raises MalformedError."""
    with pytest.raises(MalformedError):
        parse_object(data)


def test_numbers_are_exact() -> None:
    """A fraction keeps all its digits, also beyond the range of binary floating point."""
    assert parse_object(b'{"a": 0.10, "b": 1e400, "c": 7}') == {"a": Decimal("0.10"), "b": Decimal("1e400"), "c": 7}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(), lambda each: st.lists(each, max_size=3)
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_proper_objects_come_out_as_they_went_in(value: dict[str, object]) -> None:
    """An object that the standard library writes is read unchanged."""
    assert parse_object(json.dumps(value).encode()) == value


@given(st.binary(max_size=60))
def test_no_other_error(data: bytes) -> None:
    """Any bytes give a value or MalformedError, from both readers."""
    for read in (parse, parse_object):
        with suppress(MalformedError):
            read(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": "\xff"}', "Not UTF-8 at byte 7."),
        (b'{"a": 01}', "Not JSON at line 1, column 8."),
        (b"", "Not JSON at line 1, column 1."),
        (b'{"a": NaN}', "NaN and infinities are not JSON."),
        (b"[" * 30_000, "Nested too deeply."),
    ],
)
def test_the_message_states_the_place(data: bytes, message: str) -> None:
    """Both readers give the same message."""
    for read in (parse, parse_object):
        with pytest.raises(MalformedError) as caught:
            read(data)
        assert str(caught.value) == message


def test_a_schema_can_name_the_wrong_field() -> None:
    """``parse`` reads any value, and marks duplicate names and numbers out of range where they stand."""
    value = parse(b'{"a": {"b": 1, "c": 2, "b": 3}, "d": 1e99999999999999999999, "e": [1]}')
    assert isinstance(value, dict)
    assert isinstance(value["a"], Duplicated)
    assert value["a"].name == "b"
    assert (value["d"], value["e"]) == (Decimal("Infinity"), [1])
    assert parse(b'{"a": ' + b"9" * 5000 + b"}") == {"a": Decimal("9" * 5000)}
    assert parse(b"[null]") == [None]
