"""The results page: conditions, the tables of each target, and the explanations. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench import report_figures, report_writes
from bench.contention import Contention
from bench.figures import Spread
from bench.legend import HOW_TO_READ
from bench.measure import Measured
from bench.report_figures import WORDS, Rounds
from bench.setups import Conditions

_DISTURBED_CORES: Final = 0.1


@dataclass(slots=True)
class Outcome:
    """The measurements on one target."""

    conditions: Conditions
    rounds: Rounds = field(default_factory=dict)
    contention: Sequence[Contention] = ()

    def measurements(self) -> Iterator[tuple[str, Measured]]:
        """Every measurement with its figure."""
        for figure, measurements in self.rounds.items():
            for number, measured in enumerate(measurements, 1):
                yield f"{figure}, round {number}", measured
        for row in self.contention:
            for number, measured in enumerate(row.runs, 1):
                where = ", each at one worker" if row.routed else ""
                yield f"{row.figure} with {row.customers} customers{where}, round {number}", measured


def render(facts: Mapping[str, str], outcomes: Sequence[Outcome]) -> str:
    """Make the page. ``facts`` are names and values of the machine, the versions and the settings."""
    parts = ["# Results", _list(facts)]
    for outcome in outcomes:
        parts += _target(outcome)
    parts += [_disturbance(outcomes), HOW_TO_READ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """All problems, with their target, figure and round."""
    return [
        f"{outcome.conditions.target.name}: {where}: {problem}"
        for outcome in outcomes
        for where, measured in outcome.measurements()
        for problem in measured.problems
    ]


def _target(outcome: Outcome) -> list[str]:
    parts = [f"## {outcome.conditions.target.name}", _conditions(outcome)]
    if outcome.rounds:
        parts += ["### Figures", report_figures.figures(outcome.rounds)]
        parts += ["### What it took", report_figures.costs(outcome.rounds)]
    if outcome.contention:
        parts += ["### Conflicts", report_writes.conflicts(outcome.contention)]
        parts += ["### Commits", report_writes.commits(outcome.contention)]
        if storage := report_writes.storage(outcome.contention):
            parts += ["### On disk", storage]
    return parts


def _conditions(outcome: Outcome) -> str:
    conditions, facts = outcome.conditions, {}
    if outcome.rounds:
        facts["rounds"] = (
            f"{min(map(len, outcome.rounds.values()))}, of {conditions.seconds:g} s for each figure, on new processes"
            f" and a new database after {conditions.warm_up_s:g} s of warming up"
        )
        facts["customers"] = f"{conditions.customers:,}"
    facts["connections"] = _connections(conditions.connections)
    if conditions.target.workers > 1:
        busiest = [measured.busiest for _, measured in outcome.measurements()]
        facts["distribution of connections"] = (
            "the same number to each worker; before this the busiest had"
            f" {Spread.of(busiest).median:.0%} of them ({min(busiest):.0%}..{max(busiest):.0%})"
        )
    facts["accepted and not completed"] = f"at most {conditions.unfinished_max} deposits"
    return _list(facts)


def _connections(connections: Mapping[str, int]) -> str:
    numbers = list(connections.values())
    if len(set(numbers)) == 1:
        return f"{numbers[0]}"
    return "; ".join(f"{number} for {WORDS[figure]}" for figure, number in connections.items())


def disturbed(outcomes: Sequence[Outcome]) -> bool:
    """Whether other processes used the cores during the measurement."""
    return max(_others(outcomes), default=0.0) > _DISTURBED_CORES


def _others(outcomes: Sequence[Outcome]) -> list[float]:
    return [measured.others_cpu for outcome in outcomes for _, measured in outcome.measurements()]


def _disturbance(outcomes: Sequence[Outcome]) -> str:
    if not disturbed(outcomes):
        return ""
    others = _others(outcomes)
    return (
        f"**Disturbed:** other processes used up to {max(others):.2f} cores while this was measured"
        f" (median {Spread.of(others).median:.2f}): provisional figures."
    )


def _list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
