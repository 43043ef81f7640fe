"""The settlement delay of submissions without idempotency keys: until it is over, "not found" proves nothing.

A provider may queue what it was sent, so that "not yet" looks like "never". The delay is measured on this process's
monotonic clock, from when this process first handles the submission. Wall clocks that jump cannot make it too short.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final

from store.port import WorkItem

KNOWN_MAX: Final = 100_000
"""Submissions kept; the delay of a dropped one begins again."""

TICK_S: Final = 0.001


class SettlementDelay:
    """Shared by the customers of one process."""

    def __init__(self, monotonic: Callable[[], float], generation: Callable[[], int] = lambda: 0) -> None:
        self._monotonic, self._generation = monotonic, generation
        self._since: OrderedDict[str, tuple[tuple[int, int], float]] = OrderedDict()
        self._accepted: OrderedDict[str, None] = OrderedDict()

    def left_s(
        self, item: WorkItem, settle_s: float, asked_at: float | None = None, *, sent_within_s: float = 0.0
    ) -> float:
        """Seconds until a lookup without a result proves that the newest submission never arrived; 0.0: it does now.

        ``asked_at``: when the lookup began, on the monotonic clock (None: now). Its answer has the state of that time.
        ``sent_within_s``: for how long from now the process that recorded the submission may still send it.
        """
        if item.work_id in self._accepted:
            return inf
        submissions = 0 if item.transaction is None else item.transaction.submissions
        # In another generation of the store the same number may belong to another submission.
        which = (self._generation(), submissions)
        known = self._since.get(item.work_id)
        if known is None or known[0] != which:
            known = self._since[item.work_id] = (which, self._monotonic() + sent_within_s)
            if len(self._since) > KNOWN_MAX:
                self._since.popitem(last=False)
        asked_at = self._monotonic() if asked_at is None else asked_at
        # It may still be on its way exactly at the end of the delay, so the delay must be exceeded.
        return 0.0 if asked_at > known[1] + settle_s else max(known[1] + settle_s - asked_at, TICK_S)

    def accepted(self, work_id: str) -> None:
        """Record an acceptance that came too late to be stored: "never received" does not count any more."""
        self._accepted[work_id] = None
        if len(self._accepted) > KNOWN_MAX:
            self._accepted.popitem(last=False)

    def forget(self, work_id: str) -> None:
        """Drop a submission whose outcome is known, or that is sent again."""
        self._since.pop(work_id, None)
        self._accepted.pop(work_id, None)
