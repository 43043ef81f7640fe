"""Frequent counts in plain numbers, added to the meters once a second and before a scrape.

Where several processes share a port, each step of a meter is a write under a lock into a memory-mapped file. That costs
30 to 40 microseconds for a deposit, nearly a tenth of its cost. Tallies cost four. A killed process loses the counts of
its last second. Each step is one statement, which other threads of CPython do not interrupt.
"""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Counter, Histogram


class Spread(Histogram):
    """A histogram to which many observations can be added at once."""

    def add(self, counts: list[int], total: float) -> None:
        """``counts``: observations per bucket, the last of which has no bound; ``total``: their sum."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)

    @property
    def bounds(self) -> list[float]:
        """The upper bounds of the buckets, ascending."""
        return [*self._upper_bounds]


class Count:
    """Events of one kind since the last flush."""

    __slots__ = ("_counter", "_events")

    def __init__(self, counter: Counter) -> None:
        self._counter, self._events = counter, 0

    def step(self, events: int = 1) -> None:
        """Add to the count."""
        self._events += events

    def flush(self) -> None:
        """Add the tally to its meter."""
        events, self._events = self._events, 0
        if events:
            self._counter.inc(events)


class Observations:
    """Values of one kind since the last flush."""

    __slots__ = ("_bounds", "_counts", "_spread", "_total")

    def __init__(self, spread: Spread) -> None:
        self._spread, self._bounds = spread, spread.bounds
        self._counts, self._total = [0] * len(self._bounds), 0.0

    def observe(self, value: float) -> None:
        """Add a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def flush(self) -> None:
        """Add the tally to its meter."""
        counts, self._counts = self._counts, [0] * len(self._bounds)
        total, self._total = self._total, 0.0
        if any(counts):
            self._spread.add(counts, total)


class Tallies:
    """All tallies of a process."""

    def __init__(self) -> None:
        self._all: list[Count | Observations] = []

    def count(self, counter: Counter) -> Count:
        """A new tally for a counter, with its labels."""
        tally = Count(counter)
        self._all.append(tally)
        return tally

    def observations(self, spread: Spread) -> Observations:
        """A new tally for a histogram, with its labels."""
        tally = Observations(spread)
        self._all.append(tally)
        return tally

    def flush(self) -> None:
        """Add all tallies to their meters."""
        for tally in [*self._all]:
            tally.flush()
