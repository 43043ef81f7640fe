"""How often writes of several workers meet, and what that costs: by the number of customers.

Each of a few workers remembers the customers that it has met. The fewer they are, the likelier another worker has
written to the stream since then: the version key refuses the write, the loser folds in what it missed, and decides and
writes again. Where all requests of a customer go to the same worker nothing of that happens, so the same load is
measured that way, too: the difference is what conflicts cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from bench.batches import Batch
from bench.measure import Measured, measure
from bench.setups import ACCEPT, COMPLETE, Conditions

CUSTOMERS: Final = (10_000, 1_000, 10)
FIGURES: Final = (ACCEPT, COMPLETE)

_OF_STORAGE: Final = (COMPLETE, max(CUSTOMERS), False)


@dataclass(slots=True)
class Contention:
    """A figure with so many customers, measured a few times with the journal's own account of its commits."""

    figure: str
    customers: int
    routed: bool = False
    runs: list[Measured] = field(default_factory=list)

    @property
    def batches(self) -> list[Batch]:
        """The commits of all runs."""
        return [batch for run in self.runs for batch in run.batches]


def contention(conditions: Conditions, rounds: int, say: Callable[[str], None]) -> list[Contention]:
    """Measure all of it ``rounds`` times; the first with most customers that completes tells of storage, too.

    Raises ServerError.
    """
    all_of_it = [
        Contention(figure, customers, routed)
        for figure in FIGURES
        for customers in CUSTOMERS
        for routed in (False, True)
    ]
    for number in range(rounds):
        for one in all_of_it:
            watched = replace(conditions, customers=one.customers, routed=one.routed, log_level="DEBUG")
            storage = number == 0 and (one.figure, one.customers, one.routed) == _OF_STORAGE
            measured = measure(one.figure, watched, storage=storage)
            one.runs.append(measured)
            say(
                f"  {one.figure:13} {measured.rate:7,.0f}/s with {one.customers:,} customers"
                + (", each at one worker" if one.routed else "")
                + (f", {len(measured.problems)} problems" if measured.problems else "")
            )
    return all_of_it
