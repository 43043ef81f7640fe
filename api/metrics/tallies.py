"""What moves often is counted in plain numbers, and added to the meters once a second, and before a scrape.

Where several processes share a port, each step of a meter is a write under a lock into a file in memory: thirty to
forty microseconds for a deposit, nearly a tenth of what it costs; so it is four. A process that is killed takes the
counts of its last second along. Steps are single statements, which no other thread of CPython comes between.
"""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Counter, Histogram


class Spread(Histogram):
    """A histogram to which many observations can be added at once."""

    def add(self, counts: list[int], total: float) -> None:
        """``counts``: how many of them fell into each bucket, the last of which has no bound; ``total``: their sum."""
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
        """Count so many."""
        self._events += events

    def flush(self) -> None:
        """Hand them on."""
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
        """Take one up."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def flush(self) -> None:
        """Hand them on."""
        counts, self._counts = self._counts, [0] * len(self._bounds)
        total, self._total = self._total, 0.0
        if any(counts):
            self._spread.add(counts, total)


class Tallies:
    """All of a process."""

    def __init__(self) -> None:
        self._all: list[Count | Observations] = []

    def count(self, counter: Counter) -> Count:
        """A new tally for a counter, with its labels."""
        tally = Count(counter)
        self._all.append(tally)
        return tally

    def observations(self, spread: Spread) -> Observations:
        """The same for a histogram."""
        tally = Observations(spread)
        self._all.append(tally)
        return tally

    def flush(self) -> None:
        """Bring the meters up to date."""
        for tally in [*self._all]:
            tally.flush()
