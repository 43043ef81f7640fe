"""When a breaker trips: pybreaker as the state machine, over a rolling window. No permits, clock or other processes.

``CircuitBreaker.call`` would hold its lock during a call to the provider. So it runs a function that returns or raises
the result of a finished call at once. The rule for tripping is that of Hystrix:
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
_NAMES: Final = {"closed": "closed", "open": "open", "half-open": "half_open"}
"""Our names of pybreaker's states."""


class CallFailedError(Exception):
    """A technical failure of a gateway, as reported to pybreaker."""


class _Storage(pybreaker.CircuitMemoryStorage):
    """Makes pybreaker compare the window's error share with ``fail_max``, in place of consecutive failures.

    Has no opening time: pybreaker would compare it with the wall clock, which may jump.
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

    While half-open, one call decides. Its owner makes all other transitions (``enter``).
    """

    def __init__(self, window: RollingWindow, *, error_percent: float, request_volume: int) -> None:
        self._window = window
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
        return _NAMES[self._storage.state]

    def enter(self, state: str) -> None:
        """Change to ``state``."""
        {"open": self._breaker.open, "closed": self._breaker.close, "half_open": self._breaker.half_open}[state]()

    def evaluate(self, *, healthy: bool) -> None:
        """Apply the rule after a call, already in the window, that was ``healthy`` or failed."""
        before = self.state
        if healthy and before == "closed" and not self._window.failures:
            return  # nearly every call: without a failure in the window, a success changes nothing

        def result() -> None:
            if not healthy:
                raise CallFailedError

        with suppress(CallFailedError, pybreaker.CircuitBreakerError):  # counted by pybreaker
            self._breaker.call(result)
        # pybreaker evaluates failures only, but a success may be the call that reaches the request volume.
        if self.state == "closed" == before and self._storage.counter >= self._breaker.fail_max:
            self._breaker.open()
