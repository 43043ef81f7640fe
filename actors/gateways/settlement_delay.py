"""For how long this process has known of each submission whose outcome is open, on its own monotonic clock.

A provider without idempotency keys may queue what it was sent, and "not yet" looks like "never". Wall clocks may
jump and processes die, so the wait counts from when this very process learned of the submission: never too short.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final

from store.port import WorkItem

KNOWN_MAX: Final = 100_000
"""Submissions remembered; the wait of one that was forgotten begins anew."""

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
        """Seconds until a lookup that does not find the item's newest submission counts; 0.0: this one does.

        ``asked_at``: when the lookup in question began, on the monotonic clock; None: now. What it says is as old as
        that, however long its way here was. ``sent_within_s``: so long from now whoever recorded the submission may
        still send it.
        """
        if item.work_id in self._accepted:
            return inf
        submissions = 0 if item.transaction is None else item.transaction.submissions
        # In another generation of the store the same number may belong to another sending.
        which = (self._generation(), submissions)
        known = self._since.get(item.work_id)
        if known is None or known[0] != which:
            known = self._since[item.work_id] = (which, self._monotonic() + sent_within_s)
            if len(self._since) > KNOWN_MAX:
                self._since.popitem(last=False)
        asked_at = self._monotonic() if asked_at is None else asked_at
        # At the very end of the wait it may still be on its way: strictly after that.
        return 0.0 if asked_at > known[1] + settle_s else max(known[1] + settle_s - asked_at, TICK_S)

    def accepted(self, work_id: str) -> None:
        """The gateway said that it has it, though too late to be recorded: what it never received does not count."""
        self._accepted[work_id] = None
        if len(self._accepted) > KNOWN_MAX:
            self._accepted.popitem(last=False)

    def forget(self, work_id: str) -> None:
        """The outcome is known, or it is sent again."""
        self._since.pop(work_id, None)
        self._accepted.pop(work_id, None)
