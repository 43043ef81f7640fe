"""When a breaker trips: pybreaker as the state machine, over a rolling window. Knows no permits, no clock, no others.

``CircuitBreaker.call`` would hold its lock during a call to the provider; it is only told what a call came to, by a
function that returns or raises at once. When it trips is Hystrix's rule:
https://github.com/Netflix/Hystrix/wiki/How-it-Works#circuit-breaker
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Final

import pybreaker

from actors.gateways.rolling_window import RollingWindow

# pybreaker counts in integers: an error percentage is compared in millionths.
_WHOLE: Final = 1_000_000


class CallFailedError(Exception):
    """Stands for a technical failure of a gateway, reported to pybreaker."""


class _Storage(pybreaker.CircuitMemoryStorage):
    """Lets pybreaker compare the window's error share with ``fail_max``, in place of failures in a row.

    Keeps no opening time: pybreaker would compare it with the wall clock, which may jump.
    """

    def __init__(self, window: RollingWindow, request_volume: int) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._window, self._request_volume = window, request_volume

    @property
    def counter(self) -> int:
        return self._window.share(_WHOLE) if self._window.requests >= self._request_volume else 0

    @property
    def opened_at(self) -> datetime | None:
        return None

    @opened_at.setter
    def opened_at(self, _at: datetime) -> None:
        pass


class TripRule:
    """``closed`` until ``error_percent`` of at least ``request_volume`` calls in ``window`` failed, then ``open``.

    Half-open, one call decides. Everything else is for its owner to say (``become``).
    """

    def __init__(self, window: RollingWindow, *, error_percent: float, request_volume: int) -> None:
        self._storage = _Storage(window, request_volume)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=max(round(error_percent * _WHOLE / 100), 1),
            reset_timeout=0,
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half_open``."""
        return self._storage.state.replace("-", "_")

    def become(self, state: str) -> None:
        """Be in ``state``."""
        {"open": self._breaker.open, "closed": self._breaker.close, "half_open": self._breaker.half_open}[state]()

    def judge(self, *, healthy: bool) -> None:
        """A call that is in the window by now was ``healthy``, or it failed."""
        before = self.state

        def result() -> None:
            if not healthy:
                raise CallFailedError

        with suppress(CallFailedError, pybreaker.CircuitBreakerError):  # counted: that is what it was raised for
            self._breaker.call(result)
        # pybreaker judges after failures only; a success may be the call that makes the volume full.
        if self.state == "closed" == before and self._storage.counter >= self._breaker.fail_max:
            self._breaker.open()
