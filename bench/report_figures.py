"""The tables of one target: the figures as ratios to the empty resource, and their cost. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bench.figures import ratios
from bench.measure import Measured
from bench.setups import ACCEPT, ACCEPT_HOT, COMPLETE, COMPLETE_HOT, COMPLETE_ROUTED, COMPLETING, EMPTY
from bench.tables import median, percentiles, spread, table
from bench.watch import DATABASE

Rounds = Mapping[str, Sequence[Measured]]
"""The measurements of each figure, in order; the empty resource has one more."""

WORDS: Final = {
    EMPTY: "empty Falcon resource",
    ACCEPT: "accepted, many customers",
    ACCEPT_HOT: "accepted, one customer",
    COMPLETE: "completed, many customers",
    COMPLETE_ROUTED: "completed, many customers, each at one worker",
    COMPLETE_HOT: "completed, one customer",
}


def figures(rounds: Rounds) -> str:
    """Rates, compared with the empty resource, and latencies."""
    header = ["figure", "÷ empty", "by CPU", "per second", "202 after p50 / p99, ms", "completed after p50 / p99, ms"]
    rows = []
    for figure, measurements in rounds.items():
        rows.append(
            [
                WORDS[figure],
                _ratio(figure, rounds, lambda one: one.rate),
                _ratio(figure, rounds, lambda one: 1 / max(1.0, one.cpu_us)),
                spread([one.rate for one in measurements], "{:,.0f}"),
                percentiles(one.latencies for one in measurements),
                percentiles(one.completion_times for one in measurements),
            ]
        )
    return table(header, rows)


def _ratio(figure: str, rounds: Rounds, rate: Callable[[Measured], float]) -> str:
    rates, bases = list(map(rate, rounds[figure])), list(map(rate, rounds.get(EMPTY, ())))
    if figure == EMPTY or len(bases) != len(rates) + 1:
        return ""
    return spread(ratios(rates, bases), "{:.2f}")


def costs(rounds: Rounds) -> str:
    """The cost of each figure; with PostgreSQL's columns if its processes are visible."""
    server = any(DATABASE in one.cpu for measurements in rounds.values() for one in measurements)
    header = ["figure", "CPU per deposit, us: workers", *(["PostgreSQL"] if server else []), "cores: workers"]
    header += [*(["PostgreSQL"] if server else []), "load", "provider", "others", "workers' memory, MB"]
    header += [*(["log of changes per deposit, bytes"] if server else []), "first touches", "backlog at the end"]
    return table(header, [_cost_row(figure, measurements, server) for figure, measurements in rounds.items()])


def _cost_row(figure: str, measurements: Sequence[Measured], server: bool) -> list[str]:  # noqa: FBT001 - a column or none
    service, completing = figure != EMPTY, figure in COMPLETING

    def cores(name: str) -> str:
        return median((one.cpu.get(name, 0.0) for one in measurements), "{:.2f}")

    def of_server(text: str) -> list[str]:
        return [text if service else ""] if server else []

    return [
        WORDS[figure],
        spread([one.worker_us for one in measurements], "{:,.0f}"),
        *of_server(spread([one.database_us for one in measurements], "{:,.0f}")),
        cores("worker"),
        *of_server(cores(DATABASE)),
        cores("load"),
        cores("provider") if completing else "",
        median((one.others_cpu for one in measurements), "{:.2f}"),
        median((one.worker_bytes / 1e6 for one in measurements), "{:.0f}"),
        *of_server(median((one.log_bytes for one in measurements), "{:,.0f}")),
        median((one.first_touches for one in measurements), "{:.0%}") if service else "",
        median((one.backlog for one in measurements), "{:.0f}") if completing else "",
    ]
