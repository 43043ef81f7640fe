"""The arithmetic of the figures: percentiles, ratios of interleaved rounds, and their spread. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some values, with the minimum and the maximum."""

    median: float
    least: float
    greatest: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed; 0 without values (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def ratios(rates: Sequence[float], bases: Sequence[float]) -> list[float]:
    """The ratio of each round's rate to the base rates before and after it.

    ``bases`` has one more value than there are rounds. A round is divided by the mean of its two neighbours, so that a
    machine that gets slower or faster during a run changes no ratio.
    """
    if len(bases) != len(rates) + 1:
        raise ValueError("a round lies between two bases")
    return [2 * rate / (before + after) for rate, before, after in zip(rates, bases[:-1], bases[1:], strict=True)]
