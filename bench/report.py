"""The results page: conditions, the tables of each target, and the explanations. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench import report_figures, report_peers, report_relay, report_writes
from bench.contention import Contention
from bench.figures import Spread
from bench.legend import HOW_TO_READ, OF_MANY
from bench.many import Many
from bench.measure import Measured
from bench.memory import Memory
from bench.peers import Beside
from bench.relaying import Relaying
from bench.report_figures import WORDS, Rounds
from bench.setups import Conditions
from bench.tables import spread, table

_DISTURBED_CORES: Final = 0.1


@dataclass(slots=True)
class Outcome:
    """The measurements on one target."""

    conditions: Conditions
    rounds: Rounds = field(default_factory=dict)
    contention: Sequence[Contention] = ()
    relaying: Sequence[Relaying] = ()

    def measurements(self) -> Iterator[tuple[str, Measured]]:
        """Every measurement with its figure."""
        for figure, measurements in self.rounds.items():
            for number, measured in enumerate(measurements, 1):
                yield f"{figure}, round {number}", measured
        for row in self.contention:
            for number, measured in enumerate(row.runs, 1):
                where = ", each at one worker" if row.routed else ""
                yield f"{row.figure} with {row.customers} customers{where}, round {number}", measured
        for number, measured in enumerate(self.relaying[0].completed if self.relaying else (), 1):
            yield f"completed for the relay, round {number}", measured

    def problems(self) -> Iterator[tuple[str, Sequence[str]]]:
        """The problems of every measurement, and of every publication by a relay."""
        for where, measured in self.measurements():
            yield where, measured.problems
        for row in self.relaying:
            for number, relayed in enumerate(row.relayed, 1):
                yield f"relay to {row.broker}, round {number}", relayed.problems


@dataclass(slots=True)
class Extras:
    """What is measured beside the figures of the targets."""

    memory: Memory | None = None
    beside: Sequence[Beside] = ()

    @property
    def problems(self) -> list[str]:
        """What failed, with where."""
        found = [f"ours with {one.workers} workers: {problem}" for one in self.beside for problem in one.problems]
        return [*found, *([self.memory.problem] if self.memory is not None and self.memory.problem else [])]


def render(facts: Mapping[str, str], outcomes: Sequence[Outcome], extras: Extras | None = None, marks: str = "") -> str:
    """Make the page. ``facts`` are names and values of the machine, the versions and the settings."""
    parts = ["# Results", _list(facts)]
    if marks:
        parts += ["## Marks", marks]
    for outcome in outcomes:
        parts += _target(outcome)
    if extras is not None:
        parts += _extras(extras)
    parts += [_disturbance(outcomes), HOW_TO_READ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def render_many(facts: Mapping[str, str], rows: Sequence[Many], marks: str) -> str:
    """Make the page of the measurements with many customers."""
    header = ["target", "figure", "filled ÷ empty", "by CPU", "per second: filled", "empty"]
    header += ["CPU per deposit, us: filled", "empty"]
    lines = [
        [
            row.conditions.target.name,
            WORDS[row.figure].partition(",")[0],
            spread(row.ratios, "{:.2f}"),
            f"{row.ratio_by_cpu:.2f}",
            spread([one.rate for one in row.filled], "{:,.0f}"),
            spread([one.rate for one in row.empty], "{:,.0f}"),
            spread([one.cpu_us for one in row.filled], "{:,.0f}"),
            spread([one.cpu_us for one in row.empty], "{:,.0f}"),
        ]
        for row in rows
    ]
    conditions = [
        f"- {row.conditions.target.name}: {row.conditions.customers:,} customers, {row.events:,} events; connections"
        f" {_connections(row.conditions.connections)}"
        for row in rows
        if row.figure == rows[0].figure
    ]
    parts = ["# Results with many customers", _list(facts), "\n".join(conditions), "## Marks", marks, "## Figures"]
    return "\n\n".join([*parts, table(header, lines), OF_MANY.strip()]) + "\n"


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """All problems, with their target, figure and round."""
    return [
        f"{outcome.conditions.target.name}: {where}: {problem}"
        for outcome in outcomes
        for where, found in outcome.problems()
        for problem in found
    ]


def _extras(extras: Extras) -> list[str]:
    parts = []
    if beside := report_peers.render(extras.beside):
        parts += ["## Hand-written service", beside]
    if (of := extras.memory) is not None and not of.problem:
        each = (of.after - of.before) / of.customers
        text = (
            f"A process with the parts of a worker takes {of.before / 1e6:,.0f} MB, and {of.after / 1e6:,.0f} MB after"
            f" {of.customers:,} customers stored a deposit each ({each / 1e3:.1f} kB for each)."
        )
        parts += ["## Memory", text]
    return parts


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
    if outcome.relaying:
        of_server = bool(outcome.conditions.target.server_url)
        parts += ["### Relay", report_relay.render(outcome.relaying, server=of_server)]
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
    # While a relay publishes, the broker is among the others.
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
