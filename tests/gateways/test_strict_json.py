"""JSON from outside: one meaning or none."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.strict_json import MalformedError, parse_object


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
    """What has no meaning, or more than one, is refused with the one error."""
    with pytest.raises(MalformedError):
        parse_object(data)


def test_numbers_are_exact() -> None:
    """A fraction keeps all its digits, and one beyond binary floating point is no infinity."""
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
    """Any bytes give an object or MalformedError."""
    with suppress(MalformedError):
        parse_object(data)
