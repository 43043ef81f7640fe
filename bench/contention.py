"""The frequency and the cost of conflicts between workers, by the number of customers.

Each of a few workers keeps the state of recent customers. With fewer customers it is more probable that another worker
has written to the stream since. The version key then refuses the write. The worker applies the missed events, and
decides and writes again. Without conflicts, each customer's requests go to one worker. The same load is measured this
way, too: the difference is the cost of conflicts.
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
    """A figure with a number of customers, measured a few times, with the journal's log of its commits."""

    figure: str
    customers: int
    routed: bool = False
    runs: list[Measured] = field(default_factory=list)

    @property
    def batches(self) -> list[Batch]:
        """The commits of all runs."""
        return [batch for run in self.runs for batch in run.batches]


def contention(conditions: Conditions, rounds: int, say: Callable[[str], None]) -> list[Contention]:
    """Measure every row ``rounds`` times.

    The first row with most customers that completes deposits also measures storage.

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
