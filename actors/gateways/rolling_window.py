"""A rolling window over the results of calls, in buckets as in Hystrix. Independent of clock and breaker."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 10
"""Parts of the window; the oldest is dropped as a whole."""


@dataclass(slots=True)
class _Bucket:
    tick: int
    requests: int = 0
    failures: int = 0


class RollingWindow:
    """Counts of the calls in the last ``window_s`` seconds, including the newest bucket.

    ``requests`` and ``failures`` are as of the last ``add`` or ``roll``.
    """

    def __init__(self, window_s: float) -> None:
        self._bucket_s: Final = window_s / BUCKETS
        self._buckets: deque[_Bucket] = deque()
        self.requests = self.failures = 0

    def add(self, now: float, *, healthy: bool) -> None:
        """Count a call that ended at ``now``."""
        tick = self.roll(now)
        if not self._buckets or self._buckets[-1].tick < tick:
            self._buckets.append(_Bucket(tick))
        self._buckets[-1].requests += 1
        self._buckets[-1].failures += not healthy
        self.requests += 1
        self.failures += not healthy

    def roll(self, now: float) -> int:
        """Drop buckets that are too old; returns the number of the bucket of ``now``."""
        tick = int(now // self._bucket_s)
        while self._buckets and self._buckets[0].tick <= tick - BUCKETS:
            gone = self._buckets.popleft()
            self.requests -= gone.requests
            self.failures -= gone.failures
        return tick

    def share(self, whole: int) -> int:
        """The share of failures, in parts of ``whole``, rounded down; 0 without calls."""
        return whole * self.failures // self.requests if self.requests else 0

    def clear(self) -> None:
        """Drop all counts."""
        self._buckets.clear()
        self.requests = self.failures = 0
