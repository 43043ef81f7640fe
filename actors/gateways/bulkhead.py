"""One gateway as its supervisor works on it: what waits for a slot, what is out, its breaker. Outlives the actor."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from actors.backpressure import CLAIM_MAX
from actors.gateways.breaker import GatewayBreaker, Permit
from actors.replies import BulkheadStatus, GatewayStatus
from actors.runtime.dispatchers import Executor
from actors.stats import GatewayStats
from gateways.port import Gateway
from store.port import WorkItem

SEEN_MAX: Final = 10_000
"""Pieces of work of one gateway whose newest token is remembered."""


@dataclass(slots=True)
class Bulkhead:
    """One gateway with its breaker, its bulkhead and what waits for a slot."""

    gateway: Gateway
    adapter: str
    breaker: GatewayBreaker
    executor: Executor
    max_concurrent: int
    waiting: deque[WorkItem] = field(default_factory=deque)
    in_flight: int = 0
    recording: set[Permit] = field(default_factory=set)
    """Permits of submissions that are being recorded."""
    next_admission_at: float = inf
    seen: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """Newest tokens of the work that came last: one that was handed over twice is called for once."""
    capacity_wanted: bool = False

    def enqueue(self, items: Iterable[WorkItem]) -> None:
        """Let ``items`` wait for a slot."""
        for item in items:
            if self.seen.get(item.work_id, 0) < item.token:
                self.waiting.append(item)
                self.seen[item.work_id] = item.token
                if len(self.seen) > SEEN_MAX:
                    self.seen.popitem(last=False)

    @property
    def claimable(self) -> int:
        """How much due work it can use: behind an open breaker one, as a probe, and none if a person opened it."""
        if self.breaker.state == "closed":
            return CLAIM_MAX
        return 1 if self.breaker.mode == "auto" and not self.waiting and not self.in_flight else 0

    def stats(self, name: str) -> GatewayStats:
        """As it is at this moment, give or take; for any thread."""
        return GatewayStats(name, self.breaker.last_state, self.in_flight, len(self.waiting), self.max_concurrent)

    def status(self, name: str) -> GatewayStatus:
        """For operators."""
        return GatewayStatus(
            name,
            self.adapter,
            tuple(sorted(self.gateway.currencies)),
            self.breaker.status(),
            BulkheadStatus(self.in_flight, len(self.waiting), self.max_concurrent),
        )
