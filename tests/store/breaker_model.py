"""A model of the shared breakers in plain Python, for the contract and for tests without a store."""

from __future__ import annotations

from dataclasses import dataclass

from store.port import BREAKER_REST_SLACK_S, BreakerRecord


@dataclass
class SharedBreaker:
    """One gateway's record; ``time`` is the store's clock, in seconds."""

    gateway: str
    time: float = 0.0
    epoch: int = 0
    state: str = "closed"
    changed: float = 0.0
    prober: str | None = None
    until: float | None = None

    def record(self) -> BreakerRecord:
        """The record as the store returns it now."""
        left = 0.0 if self.until is None else min(self.until - self.time, self.until - self.changed)
        age = max(self.time - self.changed, 0.0) if self.epoch else 0.0
        return BreakerRecord(self.gateway, self.epoch, self.state, age, self.prober, max(left, 0.0))

    def turn(self, epoch: int, state: str) -> BreakerRecord:
        """See ``store.port.Store.turn_breaker``."""
        if epoch == self.epoch:
            self._change(state, None, None)
        return self.record()

    def take(self, epoch: int, owner: str, *, sleep_s: float, permit_s: float) -> BreakerRecord:
        """See ``store.port.Store.take_probe``."""
        since = self.changed if self.until is None else self.until
        rest_s = sleep_s - BREAKER_REST_SLACK_S
        slept = since <= self.time - rest_s or self.changed > self.time + rest_s
        if epoch == self.epoch and self.state != "closed" and slept:
            self._change("half_open", owner, self.time + permit_s)
        return self.record()

    def _change(self, state: str, prober: str | None, until: float | None) -> None:
        self.epoch += 1
        self.state, self.changed, self.prober, self.until = state, self.time, prober, until
