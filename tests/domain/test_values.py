"""Value classes: equality and hash as of frozen dataclasses, and no assignment in checked code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from domain.money import Money
from domain.values import value


@value(frozen=True, slots=True)
class Pair:
    """Two fields, one of them with a default."""

    left: str
    right: tuple[int, ...] = ()


if TYPE_CHECKING:  # ``make check`` reports an ignored error that does not occur
    Pair("a").left = "b"  # type: ignore[misc]
    Money(1, "USD").minor = 2  # type: ignore[misc]


def test_equal_values_are_one_member_of_a_set() -> None:
    """Equality and hash are those of the fields."""
    assert Pair("a") == Pair("a", ())
    assert {Pair("a"), Pair("a"), Pair("b")} == {Pair("b"), Pair("a")}
    assert hash(Pair("a", (1,))) == hash(Pair("a", (1,)))
    assert Pair("a") != Pair("a", (1,))


def test_it_is_a_dataclass() -> None:
    """The functions of the standard library accept it; its fields are slots."""
    assert dataclasses.replace(Pair("a"), right=(1,)) == Pair("a", (1,))
    assert [field.name for field in dataclasses.fields(Pair)] == ["left", "right"]
    assert repr(Pair("a")) == "Pair(left='a', right=())"
    assert not hasattr(Pair("a"), "__dict__")
