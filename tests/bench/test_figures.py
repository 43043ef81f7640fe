"""Percentiles, spreads and ratios, and the best number of connections."""

from __future__ import annotations

import pytest

from bench.figures import Spread, percentile, ratios
from bench.search import fewest_as_good


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (1, 1.0), (50, 50.0), (50.5, 51.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_percentile(percent: float, value: float) -> None:
    """A percentile is the smallest measured value that at least this share of the values does not exceed."""
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


def test_percentile_of_nothing() -> None:
    """The percentile of no values is 0."""
    assert percentile([], 99) == 0.0


def test_spread() -> None:
    """A spread is the median with the minimum and the maximum."""
    assert Spread.of([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)


def test_ratios() -> None:
    """Each round is compared with the bases before and after it, so a drifting machine changes no ratio."""
    assert ratios([500.0, 700.0], [900.0, 1100.0, 1700.0]) == [0.5, 0.5]
    with pytest.raises(ValueError, match="between two bases"):
        ratios([500.0], [1000.0])


@pytest.mark.parametrize(
    ("rates", "connections"),
    [
        ({8: 100.0, 16: 200.0, 32: 300.0}, 32),
        ({8: 100.0, 16: 298.0, 32: 300.0}, 16),
        ({8: 100.0, 16: 296.0, 32: 300.0}, 32),
        ({8: 300.0, 16: 200.0, 32: 100.0}, 8),
    ],
)
def test_the_best_number_of_connections(rates: dict[int, float], connections: int) -> None:
    """The best number of connections is the smallest that no other number exceeds by more than the noise."""
    assert fewest_as_good(rates) == connections
