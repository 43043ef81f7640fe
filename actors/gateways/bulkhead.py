"""One gateway's bulkhead: the work that waits for a slot, the calls that run, the breaker. Outlives the supervisor."""

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

TOKENS_MAX: Final = 10_000
"""Pieces of work of one gateway whose newest token is kept."""


@dataclass(slots=True)
class Bulkhead:
    """The bounded calls of one gateway, and what the supervisor keeps about it between messages."""

    gateway: Gateway
    adapter: str
    breaker: GatewayBreaker
    executor: Executor
    max_concurrent: int
    shared: bool = False
    """Whether other processes call the gateway, too, and could do what waits here."""
    waiting: deque[WorkItem] = field(default_factory=deque)
    in_flight: int = 0
    recording: set[Permit] = field(default_factory=set)
    """Permits of submissions that are being recorded, each with a slot."""
    next_admission_at: float = inf
    """When the pending timer tries admission again, on the monotonic clock."""
    newest_tokens: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """The newest token of each piece of work that came last: work that is submitted twice is called once."""
    capacity_wanted: bool = False
    """Whether the scheduler waits for CapacityFree."""

    def enqueue(self, items: Iterable[WorkItem]) -> None:
        """Queue ``items`` for a slot, except those that came before under the same or a newer token."""
        for item in items:
            if self.newest_tokens.get(item.work_id, 0) < item.token:
                self.waiting.append(item)
                self.newest_tokens[item.work_id] = item.token
                if len(self.newest_tokens) > TOKENS_MAX:
                    self.newest_tokens.popitem(last=False)

    @property
    def claimable(self) -> int:
        """How much due work it can take: one piece as a probe behind an open breaker, none if an operator opened it."""
        if self.breaker.last_state == "closed":
            return min(CLAIM_MAX, max(2 * self.max_concurrent - self._outstanding, 0)) if self.shared else CLAIM_MAX
        return 1 if self.breaker.mode == "auto" and not self.waiting and not self.in_flight else 0

    @property
    def has_room(self) -> bool:
        """Whether more work is to be claimed: room for many pieces, which are claimed together."""
        return not self.shared or self.breaker.last_state != "closed" or self._outstanding <= self.max_concurrent

    @property
    def _outstanding(self) -> int:
        """The work that this process has, sent or not."""
        return self.in_flight + len(self.waiting)

    def stats(self, name: str) -> GatewayStats:
        """An approximate snapshot, for any thread."""
        return GatewayStats(name, self.breaker.last_state, self.in_flight, len(self.waiting), self.max_concurrent)

    def status(self, name: str) -> GatewayStatus:
        """The state for operators."""
        return GatewayStatus(
            name,
            self.adapter,
            tuple(sorted(self.gateway.currencies)),
            self.breaker.status(),
            BulkheadStatus(self.in_flight, len(self.waiting), self.max_concurrent),
        )
