"""Percentiles, spreads and ratios, and the page that they stand on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import report
from bench.figures import Spread, percentile, ratios
from bench.measure import ACCEPT, EMPTY, Conditions, Measured
from bench.search import fewest_as_good

CONDITIONS = Conditions(seconds=5, warm_up_s=1, connections={EMPTY: 16, ACCEPT: 64}, customers=100, unfinished_max=256)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (1, 1.0), (50, 50.0), (50.5, 51.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_percentile(percent: float, value: float) -> None:
    """A percentile is a value that occurred: the smallest that enough of them do not exceed."""
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


def test_percentile_of_nothing() -> None:
    """Of no values it is 0."""
    assert percentile([], 99) == 0.0


def test_spread() -> None:
    """A spread is the median with both ends."""
    assert Spread.of([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0)


def test_ratios() -> None:
    """Each round is measured by the bases before and after it, so a drifting machine moves no ratio."""
    assert ratios([500.0, 700.0], [900.0, 1100.0, 1700.0]) == [0.5, 0.5]
    with pytest.raises(ValueError, match="between two bases"):
        ratios([500.0], [1000.0])


def _measured(figure: str, rate: float, *problems: str) -> Measured:
    cpu = {"worker": 0.9, "load": 0.1, "provider": 0.0}
    return Measured(figure, rate, [0.001, 0.002], cpu, worker_us=300.0, problems=list(problems))


def test_page() -> None:
    """The page has the conditions, a ratio with its spread, and a warning only when the machine was not quiet."""
    rounds = {
        EMPTY: [_measured(EMPTY, rate) for rate in (4000.0, 4000.0, 4000.0)],
        ACCEPT: [_measured(ACCEPT, 2000.0), _measured(ACCEPT, 2400.0)],
    }
    page = report.render({"machine": "two cores"}, CONDITIONS, rounds)
    assert "- machine: two cores\n" in page
    assert "- connections: 16 for empty Falcon resource; 64 for accepted, many customers\n" in page
    assert (
        "| accepted, many customers | 0.55 (0.50..0.60) | 1.00 (1.00..1.00) | 2,200 (2,000..2,400) | 1.0 / 2.0 |"
        in page
    )
    assert "Disturbed" not in page
    rounds[ACCEPT][0].others_cpu = 0.5
    assert "used up to 0.50 cores" in report.render({}, CONDITIONS, rounds)


def test_one_number_of_connections() -> None:
    """When all figures were loaded alike the page says so once."""
    rounds = {EMPTY: [_measured(EMPTY, 4000.0)] * 2, ACCEPT: [_measured(ACCEPT, 2000.0)]}
    alike = replace(CONDITIONS, connections=dict.fromkeys(rounds, 32))
    assert "- connections: 32\n" in report.render({}, alike, rounds)


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
    """A server is at its best with the fewest connections that no other number beats by more than the noise."""
    assert fewest_as_good(rates) == connections


def test_problems() -> None:
    """A problem is named with its figure and round."""
    rounds = {EMPTY: [_measured(EMPTY, 1.0)], ACCEPT: [_measured(ACCEPT, 1.0), _measured(ACCEPT, 1.0, "3 are lost")]}
    assert report.problems(rounds) == ["accept, round 2: 3 are lost"]
