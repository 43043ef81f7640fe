"""The marks: which figure each takes, and when it counts as reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import marks
from bench.many import Many
from bench.marks import Mark
from bench.measure import Measured
from bench.memory import Memory
from bench.peers import HAND_WRITTEN, OURS, Beside
from bench.report import Extras, Outcome
from bench.setups import ACCEPT, COMPLETE, COMPLETE_ROUTED, EMPTY, Conditions
from bench.targets import SQLITE, Target

CONDITIONS = Conditions(target=SQLITE, seconds=5, warm_up_s=1, connections={}, customers=100, unfinished_max=256)
POSTGRESQL = replace(CONDITIONS, target=Target(2, "postgresql://server/postgres"))


def _rounds(empty: float, **rates: float) -> dict[str, list[Measured]]:
    rounds = {figure: [Measured(figure, rate, [])] for figure, rate in rates.items()}
    return {EMPTY: [Measured(EMPTY, empty, [])] * 2, **rounds}


def _beside(workers: int, ours: float, theirs: float) -> Beside:
    return Beside(workers, [{"peer": OURS, "end_to_end": ours}, {"peer": HAND_WRITTEN, "end_to_end": theirs}])


def test_values() -> None:
    """Each mark takes its figure: the ratios of both stores, the better number of workers, and the memory."""
    outcomes = [
        Outcome(CONDITIONS, _rounds(1000.0, **{ACCEPT: 510.0, COMPLETE: 240.0})),
        Outcome(POSTGRESQL, _rounds(2000.0, **{COMPLETE: 380.0, COMPLETE_ROUTED: 700.0})),
    ]
    extras = Extras(Memory(100_000, 50_000_000, 240_000_000), [_beside(1, 900.0, 1000.0), _beside(2, 1500.0, 1000.0)])
    found = [(mark.value, mark.verdict) for mark in marks.of_run(outcomes, extras)]
    assert found[:6] == [
        (0.51, "reached"),
        (0.24, "missed"),
        (0.19, "reached"),
        (0.35, "reached, and the aim"),
        (1.5, "reached"),
        (240.0, "reached, and the aim"),
    ]
    assert {value for value, _ in found[6:]} == {None}


def test_not_measured() -> None:
    """Without a figure, or with another number of workers, a mark is neither reached nor missed."""
    other = replace(POSTGRESQL, target=Target(4, "postgresql://server/postgres"))
    outcomes = [Outcome(other, _rounds(2000.0, **{COMPLETE: 900.0}))]
    found = marks.of_run(outcomes, Extras(Memory(100_000, problem="killed"), [Beside(1, failure="no nginx")]))
    assert {mark.verdict for mark in found} == {"not measured", "not measured: make bench-scale"}
    assert not any(mark.is_reached for mark in found)


def test_many_customers() -> None:
    """The ratio of a figure with many customers is its mark's value, on the store where it was measured."""
    empty, filled = Measured(ACCEPT, 1000.0, []), Measured(ACCEPT, 880.0, [])
    found = marks.of_many([Many(CONDITIONS, ACCEPT, 10, empty=[empty, empty], filled=[filled])])
    assert [mark.value for mark in found] == [0.88, None, None, None]
    assert found[0].verdict == "missed"


@pytest.mark.parametrize(("value", "verdict"), [(250.0, "reached, and the aim"), (400.0, "reached"), (401.0, "missed")])
def test_upper_limit(value: float, verdict: str) -> None:
    """A mark of memory is an upper limit, which may be used up."""
    assert marks.of_a_worker(value * 1e6, 100_000).verdict == verdict


def test_lines() -> None:
    """The table and the lines on the terminal name the value, the limits and the verdict."""
    speed, memory = Mark("accepted", 0.5, 0.7, 0.49), marks.of_a_worker(251e6, 100_000)
    page = marks.render([speed, memory])
    assert "| accepted | 0.49 | ≥ 0.50 | ≥ 0.70 | missed |" in page
    assert "| memory of a worker with 100,000 customers | 251 MB | ≤ 400 MB | ≤ 250 MB | reached |" in page
    lines: list[str] = []
    marks.say([speed, Mark("other", 1.0, 2.0)], lines.append)
    assert lines == ["mark: accepted: 0.49 (≥ 0.50): missed", "mark: other: (≥ 1.00): not measured"]
