"""What the first request of a reference meets, by its minor units modulo 100: a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

_CALLBACK_AFTER_S: Final = 0.5
_FOUND_AFTER_S: Final = 3.0


class Truth(StrEnum):
    """What became of a request, as every later request and lookup sees it."""

    SUCCESS = "success"
    PENDING = "pending"
    DECLINED = "declined"


class Face(Enum):
    """How the provider shows itself to the one who asked, whatever the truth is."""

    ANSWER = "the truth, at once"
    ERROR = "status 500"
    UNAVAILABLE = "status 503"
    SILENCE = "an open connection and no answer"
    CLOSE = "a closed connection and no answer"
    GARBAGE = "an answer that nobody can read"
    DRIP = "the truth, at a byte a second"


@dataclass(frozen=True, slots=True)
class Row:
    """``truth`` None: the request is lost. A pending one becomes ``then`` after ``after_s``, told ``callbacks`` times.

    ``callback_first``: it becomes so, and the first callback is sent, before the answer ``pending``.
    """

    truth: Truth | None = Truth.SUCCESS
    face: Face = Face.ANSWER
    code: str | None = None
    then: Truth = Truth.PENDING
    after_s: float = _CALLBACK_AFTER_S
    callbacks: int = 0
    callback_first: bool = False


SUCCESS: Final = Row()

ROWS: Final[Mapping[int, Row]] = MappingProxyType(
    {
        1: Row(Truth.DECLINED, code="do_not_honor"),
        2: Row(Truth.DECLINED, code="insufficient_funds"),
        3: Row(Truth.PENDING, then=Truth.SUCCESS, callbacks=1),
        4: Row(Truth.PENDING, then=Truth.DECLINED, code="do_not_honor", callbacks=1),
        5: Row(face=Face.ERROR),
        6: Row(face=Face.SILENCE),
        7: Row(None, Face.SILENCE),
        8: Row(None, Face.UNAVAILABLE),
        9: Row(face=Face.GARBAGE),
        10: Row(face=Face.DRIP),
        11: Row(Truth.PENDING, then=Truth.SUCCESS, after_s=_FOUND_AFTER_S),
        12: Row(Truth.PENDING, then=Truth.SUCCESS, callbacks=1, callback_first=True),
        13: Row(Truth.PENDING, then=Truth.SUCCESS, callbacks=3),
    }
)
