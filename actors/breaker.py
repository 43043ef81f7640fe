"""One gateway's circuit breaker: pybreaker as the state machine, with permits and monotonic time of our own.

``CircuitBreaker.call`` would hold its lock during a call to the provider. So a call is *admitted* here, runs
elsewhere, and its result is *reported* through a function that returns or raises at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import pybreaker

from actors.replies import BreakerStatus

WINDOW_MAX: Final = 10_000
"""Newest calls that the figures for operators are made of, at most."""


class CallFailedError(Exception):
    """Stands for a technical failure of a gateway, reported to pybreaker."""


class _Storage(pybreaker.CircuitMemoryStorage):
    """Keeps no opening time: pybreaker would compare it with the wall clock, which may jump."""

    @property
    def opened_at(self) -> datetime | None:
        return None

    @opened_at.setter
    def opened_at(self, _at: datetime) -> None:
        pass


class GatewayBreaker:
    """Trips after ``failures`` technical failures in a row; lets one probe through ``sleep_s`` seconds later.

    ``window_s`` is the time over which operators are told how calls went.

    Owned by one actor; not for use from several threads.
    """

    def __init__(
        self,
        *,
        failures: int,
        sleep_s: float,
        window_s: float,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        changed: Callable[[str], None],
    ) -> None:
        self._storage = _Storage(pybreaker.STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures, reset_timeout=0, state_storage=self._storage, throw_new_error_on_trip=False
        )
        self._sleep_s: Final = sleep_s
        self._window_s: Final = window_s
        self._window: deque[tuple[float, bool]] = deque(maxlen=WINDOW_MAX)
        self._monotonic, self._now, self._changed = monotonic, now, changed
        self._generation = 0
        self._reopens = 0.0
        self._probe_out = False
        self._opened_at: datetime | None = None
        self._reopens_at: datetime | None = None

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half_open``."""
        return str(self._breaker.current_state).replace("-", "_")

    def admit(self) -> int | None:
        """A permit for one call, or None: not now."""
        if self.state == "open":
            if self._monotonic() < self._reopens:
                return None
            self._breaker.half_open()
            self._turned()
        if self.state == "half_open":
            if self._probe_out:
                return None
            self._probe_out = True
        return self._generation

    def wait_s(self) -> float | None:
        """Seconds until a probe may go out; None unless open."""
        return max(self._reopens - self._monotonic(), 0.0) if self.state == "open" else None

    def report(self, permit: int, *, healthy: bool) -> None:
        """Say how an admitted call went. What was admitted before the last change of state is ignored."""
        if permit != self._generation:
            return
        self._window.append((self._monotonic(), healthy))
        before = self.state

        def result() -> None:
            if not healthy:
                raise CallFailedError

        with suppress(CallFailedError, pybreaker.CircuitBreakerError):  # counted: that is what it was raised for
            self._breaker.call(result)
        if self.state != before:
            self._turned()

    def _turned(self) -> None:
        self._generation += 1
        self._probe_out = False
        if self.state == "open":
            self._reopens = self._monotonic() + self._sleep_s
            self._opened_at = self._now()
            self._reopens_at = self._opened_at + timedelta(seconds=self._sleep_s)
        elif self.state == "closed":
            self._opened_at = self._reopens_at = None
        self._changed(self.state)

    def status(self) -> BreakerStatus:
        """For operators."""
        oldest = self._monotonic() - self._window_s
        recent = [healthy for at, healthy in self._window if at >= oldest]
        percent = 100 * recent.count(False) // len(recent) if recent else 0
        return BreakerStatus(self.state, "auto", percent, len(recent), self._opened_at, self._reopens_at)
