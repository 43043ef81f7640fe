"""Table of the behaviour for the first request of a reference, by its minor units modulo 100."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

_CALLBACK_AFTER_S: Final = 0.5
_FOUND_AFTER_S: Final = 3.0
_CANCELLED_AFTER_S: Final = 3.0


class TrueStatus(StrEnum):
    """The real state of a request, which later requests and lookups get."""

    SUCCESS = "success"
    PENDING = "pending"
    DECLINED = "declined"
    AUTHORIZED = "authorized"
    """Of a deposit: its money is held."""
    CANCELLED = "cancelled"
    """Of a deposit: its money was held, and is released."""


class Behaviour(Enum):
    """How the provider responds to the request, independent of its real state."""

    ANSWER = "the real state, at once"
    ERROR = "status 500"
    UNAVAILABLE = "status 503"
    SILENCE = "an open connection and no answer"
    CLOSE = "a closed connection and no answer"
    GARBAGE = "an unreadable answer"
    DRIP = "the real state, at a byte a second"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``status`` None: the request is lost.

    A pending request becomes ``then`` after ``after_s`` seconds, reported by as many ``callbacks``. So does a hold that
    the provider cancels.
    ``callback_first``: this happens, with the first callback, before the answer ``pending``.
    """

    status: TrueStatus | None = TrueStatus.SUCCESS
    behaviour: Behaviour = Behaviour.ANSWER
    code: str | None = None
    then: TrueStatus = TrueStatus.PENDING
    after_s: float = _CALLBACK_AFTER_S
    callbacks: int = 0
    callback_first: bool = False


SUCCESS: Final = Row()

ROWS: Final[Mapping[int, Row]] = MappingProxyType(
    {
        1: Row(TrueStatus.DECLINED, code="do_not_honor"),
        2: Row(TrueStatus.DECLINED, code="insufficient_funds"),
        3: Row(TrueStatus.PENDING, then=TrueStatus.SUCCESS, callbacks=1),
        4: Row(TrueStatus.PENDING, then=TrueStatus.DECLINED, code="do_not_honor", callbacks=1),
        5: Row(behaviour=Behaviour.ERROR),
        6: Row(behaviour=Behaviour.SILENCE),
        7: Row(None, Behaviour.SILENCE),
        8: Row(None, Behaviour.UNAVAILABLE),
        9: Row(behaviour=Behaviour.GARBAGE),
        10: Row(behaviour=Behaviour.DRIP),
        11: Row(TrueStatus.PENDING, then=TrueStatus.SUCCESS, after_s=_FOUND_AFTER_S),
        12: Row(TrueStatus.PENDING, then=TrueStatus.SUCCESS, callbacks=1, callback_first=True),
        13: Row(TrueStatus.PENDING, then=TrueStatus.SUCCESS, callbacks=3),
        15: Row(then=TrueStatus.CANCELLED, after_s=_CANCELLED_AFTER_S, callbacks=1),
    }
)
