"""One gateway's circuit breaker: pybreaker as the state machine, with permits, a window and monotonic time of our own.

``CircuitBreaker.call`` would hold its lock during a call to the provider. So a call is *admitted* here, runs
elsewhere, and its result is *reported* through a function that returns or raises at once. When it trips is Hystrix's
rule: https://github.com/Netflix/Hystrix/wiki/How-it-Works#circuit-breaker
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

import pybreaker

from actors.replies import BreakerStatus
from actors.rolling_window import RollingWindow

RAMP_FIRST: Final = 2
"""Permits out at once right after a probe succeeded."""
RAMP_MAX: Final = 64
"""Permits out at once beyond which nothing is held back any more."""
MODES: Final = frozenset({"auto", "open", "closed"})

# pybreaker counts in integers: an error percentage is compared in millionths.
_WHOLE: Final = 1_000_000


class CallFailedError(Exception):
    """Stands for a technical failure of a gateway, reported to pybreaker."""


class Permit(NamedTuple):
    """Good for one call: given in this generation of the breaker, under a number of its own."""

    generation: int
    number: int


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


@dataclass(slots=True)
class _Ramp:
    """How many calls may be out at once after a recovery: doubling with each round trip, halved by a failure.

    Answers alone lift the limit, not time: of a provider that took calls and says nothing, time says nothing either.
    """

    trouble_at: float
    limit: int = RAMP_FIRST

    def failed(self, now: float) -> None:
        self.limit = max(self.limit // 2, 1)
        self.trouble_at = now

    def succeeded(self, now: float, quiet_s: float) -> bool:
        """Raise the limit; whether it is needed no longer."""
        self.limit += 1
        return self.limit > RAMP_MAX or now - self.trouble_at >= quiet_s


class GatewayBreaker:
    """Opens for ``sleep_s`` when, of at least ``request_volume`` calls in ``window_s``, ``error_percent`` failed.

    Then one probe decides; when it succeeds, calls are let through in growing numbers. A permit is good for
    ``permit_s`` seconds. A probe whose permit expires has failed: it may still be out, and a second one beside it
    would be one too many for a provider that does not answer.

    Owned by one actor; not for use from several threads. ``changed`` hears of each new state.
    """

    def __init__(
        self,
        *,
        error_percent: float,
        request_volume: int,
        window_s: float,
        sleep_s: float,
        permit_s: float,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        changed: Callable[[str], None],
    ) -> None:
        self._window = RollingWindow(window_s)
        self._storage = _Storage(self._window, request_volume)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=max(round(error_percent * _WHOLE / 100), 1),
            reset_timeout=0,
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )
        self._window_s: Final = window_s
        self._sleep_s: Final = sleep_s
        self._permit_s: Final = permit_s
        self._monotonic, self._now, self._changed = monotonic, now, changed
        self._mode = "auto"
        self._generation = self._last_number = 0
        self._out: dict[int, float] = {}  # this generation's permits: number to expiry, which ascends
        self._ramp: _Ramp | None = None
        self._reopens = 0.0
        self._opened_at: datetime | None = None

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half_open``. Its sleep over, it is open until somebody asks for a permit."""
        self._expire()
        return self._state

    @property
    def mode(self) -> str:
        """``auto``, or the state that a person forces it to be in: ``open`` or ``closed``."""
        return self._mode

    def admit(self) -> Permit | None:
        """A permit for one call, or None: not now."""
        now = self._expire()
        if self._state == "open":
            if self._mode == "open" or now < self._reopens:
                return None
            self._breaker.half_open()
            self._turned(now)
        if len(self._out) >= self._room():
            return None
        self._last_number += 1
        self._out[self._last_number] = now + self._permit_s
        return Permit(self._generation, self._last_number)

    def holds(self, permit: Permit) -> bool:
        """Whether a call may still go out with it: it is neither expired nor given back, and nothing changed since."""
        self._expire()
        return permit.generation == self._generation and permit.number in self._out

    def report(self, permit: Permit, *, healthy: bool) -> None:
        """Say how an admitted call went; ignored when its permit expired, or is older than the last change."""
        now = self._expire()
        if not self._take(permit):
            return
        self._window.add(now, healthy=healthy)
        if self._ramp is not None:
            if not healthy:
                self._ramp.failed(now)
            elif self._ramp.succeeded(now, self._window_s):
                self._ramp = None
        if self._mode == "auto":
            self._judge(now, healthy=healthy)

    def withdraw(self, permit: Permit) -> None:
        """Give a permit back with which no call went out. It says nothing of the gateway's health."""
        self._expire()
        self._take(permit)

    def wait_s(self) -> float | None:
        """Seconds until ``admit`` succeeds by time alone, 0 for now; None: by a report, a withdrawal or force only.

        A report may shorten it.
        """
        now = self._expire()
        if self._mode == "open":
            return None
        if self._state == "open":
            return max(self._reopens - now, 0.0)
        too_many = len(self._out) - self._room() + 1
        if too_many <= 0:
            return 0.0
        until = next(islice(self._out.values(), too_many - 1, None))
        return until - now + (self._sleep_s if self._state == "half_open" else 0.0)

    def force(self, mode: str) -> None:
        """Hold it ``open`` or ``closed`` whatever happens, or (``auto``) leave it to itself again.

        Left to itself after having been open it begins with a probe; after having been closed, with an empty window.
        Raises ValueError for any other mode.
        """
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        now = self._expire()
        if mode == self._mode:
            return
        before, was, self._mode = self._state, self._mode, mode
        if mode == "open":
            self._breaker.open()
        elif mode == "closed":
            self._breaker.close()
        elif was == "open":
            self._breaker.half_open()
        else:
            self._window.clear()
        if self._state != before:
            self._turned(now)
        else:
            self._renew()
        if mode == "closed":
            self._ramp = None  # everything goes out

    def status(self) -> BreakerStatus:
        """For operators."""
        self._window.roll(self._expire())
        reopens_at = None
        if self._opened_at is not None and self._state == "open" and self._mode == "auto":
            reopens_at = self._opened_at + timedelta(seconds=self._sleep_s)
        return BreakerStatus(
            self._state, self._mode, self._window.share(100), self._window.requests, self._opened_at, reopens_at
        )

    @property
    def _state(self) -> str:
        return self._storage.state.replace("-", "_")

    def _room(self) -> int:
        """How many permits may be out at once, when not open."""
        if self._state == "half_open":
            return 1
        return sys.maxsize if self._ramp is None else self._ramp.limit

    def _take(self, permit: Permit) -> bool:
        return permit.generation == self._generation and self._out.pop(permit.number, None) is not None

    def _expire(self) -> float:
        """Take back the permits whose time is over; the time that it is."""
        now = self._monotonic()
        while self._out:
            number, until = next(iter(self._out.items()))
            if now < until:
                break
            del self._out[number]
            if self._state == "half_open":
                self._breaker.open()
                self._turned(now, since=until)
            elif self._ramp is not None:
                self._ramp.trouble_at = until  # one that says nothing is no sign of health
        return now

    def _judge(self, now: float, *, healthy: bool) -> None:
        before = self._state

        def result() -> None:
            if not healthy:
                raise CallFailedError

        with suppress(CallFailedError, pybreaker.CircuitBreakerError):  # counted: that is what it was raised for
            self._breaker.call(result)
        # pybreaker judges after failures only; a success may be the call that makes the volume full.
        if self._state == "closed" == before and self._storage.counter >= self._breaker.fail_max:
            self._breaker.open()
        if self._state != before:
            self._turned(now)

    def _turned(self, now: float, since: float | None = None) -> None:
        """Begin the state that pybreaker is in now. It was opened at ``since``, if that was noticed late."""
        self._renew()
        if self._state == "open":
            since = now if since is None else since
            self._reopens = since + self._sleep_s
            self._opened_at = self._now() - timedelta(seconds=now - since)
        elif self._state == "closed":
            self._opened_at = None
            self._window.clear()
            self._ramp = _Ramp(now)
        self._changed(self._state)

    def _renew(self) -> None:
        """From now on nothing of before counts."""
        self._generation += 1
        self._out.clear()
        self._ramp = None
