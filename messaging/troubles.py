"""Which failures of a repeated step are logged: each kind of text when it is new, and again after an hour."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

REPEAT_S: Final = 3600.0
"""A failure that goes on is logged again after this time."""

_NUMBERS: Final = re.compile(r"\d+")
"""Numbers are the part of a text that differs at each attempt, such as a port or a duration."""


class Troubles:
    """The failures of one step since its last success. For one thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._logged: dict[str, float] = {}
        """When each kind of text was logged. Brokers of a cluster may fail in turn, with a text each."""

    def is_due(self, problem: str) -> bool:
        """Note a failure. Returns whether it is to be logged."""
        now, kind = self._monotonic(), _NUMBERS.sub("0", problem)
        self._logged = {known: at for known, at in self._logged.items() if now - at < REPEAT_S}
        if kind in self._logged:
            return False
        self._logged[kind] = now
        return True

    def end(self) -> bool:
        """Note a success. Returns whether it ends failures."""
        ended, self._logged = bool(self._logged), {}
        return ended
