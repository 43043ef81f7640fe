"""One gateway's circuit breaker: who may call, by permits, in monotonic time of its own, and what all processes share.

A call is *admitted* here, runs elsewhere, and its result is *reported*. ``trip_rule`` decides when the breaker opens.
All processes share the changes by a record in the store (``store.port.BreakerRecord``). This one knows the epoch that
it stands on, follows newer ones, and says what it wants the record to be. Who stores and tells that it does not know.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from math import inf
from typing import Final, NamedTuple

from actors.gateways.rolling_window import RollingWindow
from actors.gateways.slow_start import SlowStart
from actors.gateways.trip_rule import TripRule
from actors.replies import BreakerStatus
from store.port import BreakerRecord

MODES: Final = frozenset({"auto", "open", "closed"})
AGAIN_S: Final = 2.0
"""After this time without a newer record what was to be shared is told, or asked, once more."""


class Permit(NamedTuple):
    """Good for one call: given in this generation of the breaker, under a number of its own."""

    generation: int
    number: int
    until: float = inf
    """When it expires, on the monotonic clock: no call begins with it after that."""


class GatewayBreaker:
    """Opens for ``sleep_s`` when, of at least ``request_volume`` calls in ``window_s``, ``error_percent`` failed.

    Then one probe of one process decides; when it succeeds, calls are let through in growing numbers. A permit is good
    for ``permit_s`` seconds. A probe whose permit expires has failed: it may still be out, and a second one beside it
    would be one too many for a provider that does not answer.

    What it comes to by itself holds here at once, and for the others when the record says so (``unshared``). It probes
    when the record says that ``owner`` may (``probe_wanted``, ``follow``). Of two that change the record the other one
    follows the winner. The windows are each process's own.

    Owned by one actor; not for use from several threads. ``changed`` hears of each new state.
    """

    def __init__(
        self,
        *,
        owner: str,
        error_percent: float,
        request_volume: int,
        window_s: float,
        sleep_s: float,
        permit_s: float,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        changed: Callable[[str], None],
    ) -> None:
        self._owner = owner
        self._window = RollingWindow(window_s)
        self._trip_rule = TripRule(self._window, error_percent=error_percent, request_volume=request_volume)
        self._window_s: Final = window_s
        self._sleep_s: Final = sleep_s
        self._permit_s: Final = permit_s
        self._monotonic, self._now, self._changed = monotonic, now, changed
        self._mode = "auto"
        self._generation = self._last_number = 0
        self._out: dict[int, float] = {}  # this generation's permits: number to expiry, which ascends
        self._slow_start: SlowStart | None = None
        self._epoch, self._shared_state = 0, "closed"  # of the record that this one stands on
        self._ahead = False  # it came to its state by itself, and no record says so yet
        self._said = -inf  # when the record was to be changed last
        self._probe_until = 0.0
        self._rests_until = 0.0  # whoever is open then may probe
        self._opened_at: datetime | None = None

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half_open``: this process has the probe. While another one has it, open."""
        self._expire()
        return self._state

    @property
    def last_state(self) -> str:
        """The same without a look at the clock, which may change it: for any thread."""
        return self._state

    @property
    def mode(self) -> str:
        """``auto``, or the state that a person forces it to be in: ``open`` or ``closed``."""
        return self._mode

    def admit(self) -> Permit | None:
        """A permit for one call, or None: not now."""
        now = self._expire()
        if self._state == "open" or len(self._out) >= self._room():
            return None
        self._last_number += 1
        until = self._probe_until if self._state == "half_open" else now + self._permit_s
        self._out[self._last_number] = until
        return Permit(self._generation, self._last_number, until)

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
        if self._slow_start is not None:
            if not healthy:
                self._slow_start.failed(now)
            elif self._slow_start.succeeded(now, self._window_s):
                self._slow_start = None
        if self._mode == "auto":
            self._judge(now, healthy=healthy)

    def withdraw(self, permit: Permit) -> None:
        """Give a permit back with which no call went out. It says nothing of the gateway's health."""
        self._expire()
        self._take(permit)

    def wait_s(self) -> float | None:
        """Seconds until ``admit`` succeeds, or the probe is to be asked for, by time alone; 0 for now.

        None: by a report, a withdrawal or force only. A report, or a record, may shorten it.
        """
        now = self._expire()
        if self._mode == "open":
            return None
        if self._state == "open":
            return max(self._rests_until - now, self._said + AGAIN_S - now, 0.0)
        too_many = len(self._out) - self._room() + 1
        if too_many <= 0:
            return 0.0
        if self._state == "half_open":
            return self._rests_until - now
        return next(islice(self._out.values(), too_many - 1, None)) - now

    def force(self, mode: str) -> None:
        """Hold it ``open`` or ``closed`` whatever happens, or (``auto``) leave it to itself again, and to the record.

        Whoever orders that sees to it that the record says the same. Raises ValueError for any other mode.
        """
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        now = self._expire()
        if mode == self._mode:
            return
        was, self._mode, self._ahead = self._mode, mode, False
        self._renew()
        if mode != "auto":
            self._become(mode, now)
        else:
            self._become("closed" if self._shared_state == "closed" else "open", now)
            if was == "closed":
                self._window.clear()
        if mode == "closed":
            self._slow_start = None  # everything goes out

    # what all processes share

    def unshared(self) -> tuple[int, str] | None:
        """The epoch and the state that the record is to go on from there with, if that is to be told now."""
        now = self._expire()
        if not self._ahead or now < self._said + AGAIN_S:
            return None
        self._said = now
        return self._epoch, self._state

    def unshared_s(self) -> float | None:
        """Seconds until that is to be told; None when there is nothing that the record does not say."""
        now = self._expire()
        return max(self._said + AGAIN_S - now, 0.0) if self._ahead else None

    def probe_wanted(self) -> int | None:
        """The epoch from which on this process wants to probe, if that is to be asked now."""
        now = self._expire()
        if self._mode != "auto" or self._state != "open" or self._ahead:
            return None
        if now < max(self._rests_until, self._said + AGAIN_S):
            return None
        self._said = now
        return self._epoch

    def follow(self, record: BreakerRecord, asked_at: float) -> None:
        """Do as the record says, unless it is no newer than what is known. It was asked for at ``asked_at``."""
        now = self._expire()
        if record.epoch <= self._epoch:
            return
        self._epoch, self._shared_state = record.epoch, record.state
        self._ahead, self._said = False, -inf
        # On the safe side of what the store says at both ends: a permit ends not later, and a rest not sooner.
        rest_s = self._sleep_s - record.age_s if record.state == "open" else record.probe_left_s + self._sleep_s
        self._rests_until = now + max(rest_s, 0.0)
        if self._mode != "auto":
            return  # it counts again when a person leaves the breaker to itself
        self._probe_until = asked_at + min(record.probe_left_s, self._permit_s)
        probing = record.prober == self._owner and now < self._probe_until
        state = "open" if record.state == "half_open" and not probing else record.state
        if state != self._state or state == "half_open":
            self._renew()
        self._become(state, now)
        if record.state == "open":
            self._opened_at = self._now() - timedelta(seconds=record.age_s)

    def start_anew(self) -> None:
        """Start over after a restore of the record: an open breaker stays open, and tells the record if it can.

        Whatever else the record says is followed, at any epoch.
        """
        now = self._expire()
        self._epoch, self._shared_state, self._ahead, self._said = 0, "closed", False, -inf
        if self._mode == "auto":
            self._renew()
            if self._state == "half_open":
                self._become("open", now)
            self._ahead = self._state == "open"

    def status(self) -> BreakerStatus:
        """For operators."""
        now = self._expire()
        self._window.roll(now)
        reopens_at = None
        if self._state == "open" and self._mode == "auto":
            reopens_at = self._now() + timedelta(seconds=self._rests_until - now)
        return BreakerStatus(
            self._state, self._mode, self._window.share(100), self._window.requests, self._opened_at, reopens_at
        )

    @property
    def _state(self) -> str:
        return self._trip_rule.state

    def _room(self) -> int:
        """How many permits may be out at once, when not open."""
        if self._state == "half_open":
            return 1
        return sys.maxsize if self._slow_start is None else self._slow_start.limit

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
            if self._slow_start is not None:
                self._slow_start.trouble_at = until  # one that says nothing is no sign of health
        if self._state == "half_open" and now >= self._probe_until:
            # The record need not say so: everybody reads in it until when the probe had its time.
            self._renew()
            self._become("open", now, since=self._probe_until)
        return now

    def _judge(self, now: float, *, healthy: bool) -> None:
        before = self._state
        self._trip_rule.judge(healthy=healthy)
        if self._state != before:
            self._ahead, self._said = True, -inf
            self._rests_until = now + self._sleep_s
            self._renew()
            self._began(now, since=now)

    def _become(self, state: str, now: float, since: float | None = None) -> None:
        """Be in ``state``, if it is not that already; open since ``since``."""
        if state == self._state:
            return
        self._trip_rule.become(state)
        self._began(now, now if since is None else since)

    def _began(self, now: float, since: float) -> None:
        """The state is a new one."""
        if self._state == "open":
            self._opened_at = self._now() - timedelta(seconds=now - since)
        elif self._state == "closed":
            self._opened_at = None
            self._window.clear()
            self._slow_start = SlowStart(now)
        self._changed(self._state)

    def _renew(self) -> None:
        """From now on nothing of before counts."""
        self._generation += 1
        self._out.clear()
        self._slow_start = None
