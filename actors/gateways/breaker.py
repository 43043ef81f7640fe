"""One gateway's circuit breaker: permits for calls, on the monotonic clock, and the state that all processes share.

A call is *admitted* here, runs elsewhere, and its result is *reported*. ``trip_rule`` decides when the breaker opens.
All processes share one record in the store (``store.port.BreakerRecord``). The breaker keeps the epoch of the record
that it follows, adopts newer ones, and reports the transitions that the record lacks. It does no I/O itself.
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
RESEND_S: Final = 2.0
"""Without a newer record, a transition or a request for the probe is repeated after this time."""


class Permit(NamedTuple):
    """Permission for one call, granted under a unique ``number`` in a ``generation`` of the breaker."""

    generation: int
    number: int
    until: float = inf
    """Its expiry on the monotonic clock: no call begins after that."""


class GatewayBreaker:
    """Opens for ``sleep_s`` when, of at least ``request_volume`` calls in ``window_s``, ``error_percent`` failed.

    Then one probe of one process decides. After its success calls are admitted in growing numbers. A permit is valid
    for ``permit_s`` seconds. A probe whose permit expires has failed. Its call may still run, so the next probe
    waits: two probes at the same time are too many for a provider that does not answer.

    A transition made here applies to this process at once, and to other processes when the record has it
    (``pending_transition``). This process probes when the record grants the probe to ``owner`` (``probe_wanted``,
    ``follow``). Of two processes that change the record, the slower one follows the faster one. Each process has a
    rolling window of its own.

    Owned by one actor; not for use from several threads. ``changed`` is called with each new state.
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
        self._outstanding: dict[int, float] = {}  # permits of this generation: number to expiry, ascending
        self._slow_start: SlowStart | None = None
        self._epoch, self._shared_state = 0, "closed"  # of the record that this breaker follows
        self._unshared = False  # the record does not have the present state yet
        self._requested_at = -inf  # when the newest change of the record was requested
        self._probe_until = 0.0
        self._sleeps_until = 0.0  # an open breaker may probe from then on
        self._opened_at: datetime | None = None

    @property
    def state(self) -> str:
        """``closed``, ``open``, or ``half_open`` while this process has the probe. Open while another one has it."""
        self._expire()
        return self._state

    @property
    def last_state(self) -> str:
        """The state as of the last call. Does not read the clock and changes nothing, so any thread may use it.

        Time alone neither closes a breaker nor opens a closed one. So this shows whether it is closed now.
        """
        return self._state

    @property
    def mode(self) -> str:
        """``auto``, or the state that an operator forces: ``open`` or ``closed``."""
        return self._mode

    def admit(self) -> Permit | None:
        """Grant a permit for one call; None when no call may go out now."""
        now = self._expire()
        state = self._state
        if state == "open" or len(self._outstanding) >= self._permits_max():
            return None
        self._last_number += 1
        until = self._probe_until if state == "half_open" else now + self._permit_s
        self._outstanding[self._last_number] = until
        return Permit(self._generation, self._last_number, until)

    def is_valid(self, permit: Permit) -> bool:
        """Whether a call may still begin: not expired, reported or withdrawn, and no new state since."""
        self._expire()
        return permit.generation == self._generation and permit.number in self._outstanding

    def report(self, permit: Permit, *, healthy: bool) -> None:
        """Count the result of an admitted call. Ignored when its permit expired or is older than the present state."""
        now = self._expire()
        if not self._redeem(permit):
            return
        self._window.add(now, healthy=healthy)
        if self._slow_start is not None:
            if not healthy:
                self._slow_start.failed(now)
            elif self._slow_start.succeeded(now, self._window_s):
                self._slow_start = None
        if self._mode == "auto":
            self._evaluate(now, healthy=healthy)

    def withdraw(self, permit: Permit) -> None:
        """Return a permit whose call was not made. This is no sign of the gateway's health."""
        self._expire()
        self._redeem(permit)

    def wait_s(self) -> float | None:
        """Seconds until time alone lets ``admit`` succeed or the probe be requested; 0 for now.

        None when only a report, a withdrawal or ``force`` can do that. A report or a record may shorten the time.
        """
        now = self._expire()
        if self._mode == "open":
            return None
        if self._state == "open":
            return max(self._sleeps_until - now, self._requested_at + RESEND_S - now, 0.0)
        too_many = len(self._outstanding) - self._permits_max() + 1
        if too_many <= 0:
            return 0.0
        if self._state == "half_open":
            return self._sleeps_until - now
        return next(islice(self._outstanding.values(), too_many - 1, None)) - now

    def force(self, mode: str) -> None:
        """Hold it ``open`` or ``closed`` whatever happens; ``auto`` returns it to its rule and the record.

        The caller makes sure that the record has the same state. Raises ValueError for any other mode.
        """
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        now = self._expire()
        if mode == self._mode:
            return
        was, self._mode, self._unshared = self._mode, mode, False
        self._invalidate_permits()
        if mode != "auto":
            self._enter(mode, now)
        else:
            self._enter("closed" if self._shared_state == "closed" else "open", now)
            if was == "closed":
                self._window.clear()
        if mode == "closed":
            self._slow_start = None  # an operator's order has no limit

    # the state that all processes share

    def pending_transition(self) -> tuple[int, str] | None:
        """The transition to record now, as (epoch to change, new state); None when there is none."""
        if not self._unshared or (now := self._expire()) < self._requested_at + RESEND_S:
            return None
        self._requested_at = now
        return self._epoch, self._state

    def pending_transition_s(self) -> float | None:
        """Seconds until a transition is to be recorded (again); None when the record has the present state."""
        return max(self._requested_at + RESEND_S - self._expire(), 0.0) if self._unshared else None

    def probe_wanted(self) -> int | None:
        """The epoch of the record in which to request the probe now; None when it is not to be requested."""
        now = self._expire()
        if self._mode != "auto" or self._state != "open" or self._unshared:
            return None
        if now < max(self._sleeps_until, self._requested_at + RESEND_S):
            return None
        self._requested_at = now
        return self._epoch

    def follow(self, record: BreakerRecord, asked_at: float) -> None:
        """Adopt the state of ``record``, read at ``asked_at`` (monotonic); ignored unless its epoch is newer."""
        now = self._expire()
        if record.epoch <= self._epoch:
            return
        self._epoch, self._shared_state = record.epoch, record.state
        self._unshared, self._requested_at = False, -inf
        # Both times are safe: the permit ends no later than in the store, and the sleep no sooner.
        sleep_left_s = self._sleep_s - record.age_s if record.state == "open" else record.probe_left_s + self._sleep_s
        self._sleeps_until = now + max(sleep_left_s, 0.0)
        if self._mode != "auto":
            return  # it applies again when the operator returns the breaker to auto
        self._probe_until = asked_at + min(record.probe_left_s, self._permit_s)
        probing = record.prober == self._owner and now < self._probe_until
        state = "open" if record.state == "half_open" and not probing else record.state
        if state != self._state or state == "half_open":
            self._invalidate_permits()
        self._enter(state, now)
        if record.state == "open":
            self._opened_at = self._now() - timedelta(seconds=record.age_s)

    def reset(self) -> None:
        """Follow the record from any epoch, after a restore of the store to an earlier state.

        An open breaker stays open and is recorded as such if the record permits.
        """
        now = self._expire()
        self._epoch, self._shared_state, self._unshared, self._requested_at = 0, "closed", False, -inf
        if self._mode == "auto":
            self._invalidate_permits()
            if self._state == "half_open":
                self._enter("open", now)
            self._unshared = self._state == "open"

    def status(self) -> BreakerStatus:
        """The state for operators."""
        now = self._expire()
        self._window.roll(now)
        reopens_at = None
        if self._state == "open" and self._mode == "auto":
            reopens_at = self._now() + timedelta(seconds=self._sleeps_until - now)
        return BreakerStatus(
            self._state, self._mode, self._window.share(100), self._window.requests, self._opened_at, reopens_at
        )

    @property
    def _state(self) -> str:
        return self._trip_rule.state

    def _permits_max(self) -> int:
        """How many permits may be outstanding at once, when not open."""
        if self._state == "half_open":
            return 1
        return sys.maxsize if self._slow_start is None else self._slow_start.limit

    def _redeem(self, permit: Permit) -> bool:
        return permit.generation == self._generation and self._outstanding.pop(permit.number, None) is not None

    def _expire(self) -> float:
        """Remove expired permits; returns the present time."""
        now = self._monotonic()
        while self._outstanding:
            number, until = next(iter(self._outstanding.items()))
            if now < until:
                break
            del self._outstanding[number]
            if self._slow_start is not None:
                self._slow_start.trouble_at = until  # a call without a result is no sign of health
        if self._state == "half_open" and now >= self._probe_until:
            # Not recorded: every process reads the expiry of the probe in the record.
            self._invalidate_permits()
            self._enter("open", now, since=self._probe_until)
        return now

    def _evaluate(self, now: float, *, healthy: bool) -> None:
        before = self._state
        self._trip_rule.evaluate(healthy=healthy)
        if self._state != before:
            self._unshared, self._requested_at = True, -inf
            self._sleeps_until = now + self._sleep_s
            self._invalidate_permits()
            self._entered(now, since=now)

    def _enter(self, state: str, now: float, since: float | None = None) -> None:
        """Change to ``state`` unless it is the present one; it is open since ``since``."""
        if state == self._state:
            return
        self._trip_rule.enter(state)
        self._entered(now, now if since is None else since)

    def _entered(self, now: float, since: float) -> None:
        """Follow up on a new state."""
        if self._state == "open":
            self._opened_at = self._now() - timedelta(seconds=now - since)
        elif self._state == "closed":
            self._opened_at = None
            self._window.clear()
            self._slow_start = SlowStart(now)
        self._changed(self._state)

    def _invalidate_permits(self) -> None:
        """Begin a generation in which earlier permits count for nothing."""
        self._generation += 1
        self._outstanding.clear()
        self._slow_start = None
