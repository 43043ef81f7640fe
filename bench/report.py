"""The figures as a page: conditions, tables, and how to read them. Pure; what it is told it writes down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from bench.figures import Spread, percentile, ratios
from bench.measure import ACCEPT, ACCEPT_HOT, COMPLETE, COMPLETE_HOT, COMPLETING, EMPTY, Conditions, Measured

_WORDS: Final = {
    EMPTY: "empty Falcon resource",
    ACCEPT: "accepted, many customers",
    ACCEPT_HOT: "accepted, one customer",
    COMPLETE: "completed, many customers",
    COMPLETE_HOT: "completed, one customer",
}
_DISTURBED_CORES: Final = 0.1

_HOW_TO_READ: Final = """\
## How to read it

- Compare ratios, not rates: rates are this machine's, and of this minute. A round's ratio is its rate to the mean of
  the empty resource's rates just before and just after it. The tables give the median of the rounds and, in brackets,
  the least and the greatest.
- **Empty Falcon resource**: reads a JSON body, answers 202 with a small one; under gunicorn with the very settings of
  the service. Each side is loaded with the number of connections that suits it best, searched in the same way for both
  before the first round: the empty resource's best is with fewer than the service's, whose commits carry what waits.
- **Accepted**: `POST /v1/deposit` answered with 202, which is sent after the commit is on disk. The service runs with
  `PAYMENTS_ROLE=api`: the work stays queued in the store.
- **Completed**: the whole way, service in the role `all`, to a provider process that answers at once. Clients are a
  closed loop, and wait while as many deposits as named above are accepted and not completed, so that the service is
  saturated and its backlog bounded. Counted are the deposits that were answered with 202, all of which the store must
  hold as `completed` in the end; the time is from the first POST until no work is left in the store, so that the
  backlog which is left when the load ends is worked off within it.
- **Many customers** are drawn at random; *first touches* says how many deposits were a customer's first, which costs
  a read of the store. **One customer**: all deposits go to one stream.
- *CPU per deposit* is what the worker's process used, the kernel's share of sockets and disk included. It is what other
  load on the machine disturbs least; *by CPU* is the ratio of these times, and so what the ratio of the rates would be
  if no process ever had to wait for a core. *Cores* are what each process used; load and provider run beside the
  service on the same two cores. *Others* is everything else on these cores, the kernel's own threads included: above
  0.1 the figures are not to be trusted.
- Every run also checks: all requests answered with 202, every transaction of an answer stored and, where it applies,
  completed, no deposit twice at the provider, `manage.py verify` without a finding, no warning in the service's log.
"""


Rounds = Mapping[str, Sequence[Measured]]
"""The measurements of each figure, in order; of the empty resource one more."""


def render(facts: Mapping[str, str], conditions: Conditions, rounds: Rounds) -> str:
    """The page; ``facts`` are the names and values that say where and with what was measured."""
    parts = ["# Results", _facts(facts, conditions, rounds), "## Figures", _figures(rounds)]
    parts += ["## What it took", _costs(rounds), _disturbance(rounds), _HOW_TO_READ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def problems(rounds: Rounds) -> list[str]:
    """Everything that went wrong, with the figure and round where it did."""
    return [
        f"{figure}, round {number}: {problem}"
        for figure, measurements in rounds.items()
        for number, measured in enumerate(measurements, 1)
        for problem in measured.problems
    ]


def _facts(facts: Mapping[str, str], conditions: Conditions, rounds: Rounds) -> str:
    facts = {
        **facts,
        "rounds": f"{min(map(len, rounds.values()))}, of {conditions.seconds:g} s for each figure, on new processes"
        f" and a new database after {conditions.warm_up_s:g} s of warming up",
        "connections": _connections(conditions.connections, list(rounds)),
        "customers": f"{conditions.customers:,}",
        "accepted and not completed": f"at most {conditions.unfinished_max} deposits",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _connections(connections: Mapping[str, int], figures: Sequence[str]) -> str:
    if len({connections[figure] for figure in figures}) == 1:
        return f"{connections[figures[0]]}"
    return "; ".join(f"{connections[figure]} for {_WORDS[figure]}" for figure in figures)


def _figures(rounds: Rounds) -> str:
    header = ["figure", "÷ empty", "by CPU", "per second", "202 after p50 / p99, ms", "completed after p50 / p99, ms"]
    rows = []
    for figure, measurements in rounds.items():
        rows.append(
            [
                _WORDS[figure],
                _ratio(figure, rounds, lambda one: one.rate),
                _ratio(figure, rounds, lambda one: 1 / max(1.0, one.worker_us)),
                _spread([one.rate for one in measurements], "{:,.0f}"),
                _percentiles(one.latencies for one in measurements),
                _percentiles(one.completion_times for one in measurements),
            ]
        )
    return _table(header, rows)


def _ratio(figure: str, rounds: Rounds, rate: Callable[[Measured], float]) -> str:
    rates, bases = list(map(rate, rounds[figure])), list(map(rate, rounds.get(EMPTY, ())))
    if figure == EMPTY or len(bases) != len(rates) + 1:
        return ""
    return _spread(ratios(rates, bases), "{:.2f}")


def _costs(rounds: Rounds) -> str:
    header = ["figure", "CPU per deposit, us", "cores: worker", "load", "provider", "others", "worker's memory, MB"]
    header += ["first touches", "backlog at the end"]
    rows = []
    for figure, measurements in rounds.items():

        def median(value: Callable[[Measured], float], template: str, among: Sequence[Measured] = measurements) -> str:
            return template.format(Spread.of([value(one) for one in among]).median)

        service = figure != EMPTY
        completing = figure in COMPLETING
        rows.append(
            [
                _WORDS[figure],
                _spread([one.worker_us for one in measurements], "{:,.0f}"),
                median(lambda one: one.cpu["worker"], "{:.2f}"),
                median(lambda one: one.cpu["load"], "{:.2f}"),
                median(lambda one: one.cpu["provider"], "{:.2f}") if completing else "",
                median(lambda one: one.others_cpu, "{:.2f}"),
                median(lambda one: one.worker_bytes / 1e6, "{:.0f}"),
                median(lambda one: one.first_touches, "{:.0%}") if service else "",
                median(lambda one: one.backlog, "{:.0f}") if completing else "",
            ]
        )
    return _table(header, rows)


def _disturbance(rounds: Rounds) -> str:
    others = [one.others_cpu for measurements in rounds.values() for one in measurements]
    if max(others) <= _DISTURBED_CORES:
        return ""
    return (
        f"**Disturbed:** other processes used up to {max(others):.2f} cores while this was measured"
        f" (median {Spread.of(others).median:.2f}): provisional figures."
    )


def _spread(values: Sequence[float], template: str) -> str:
    spread = Spread.of(values)
    if len(values) == 1:
        return template.format(spread.median)
    return f"{template} ({template}..{template})".format(spread.median, spread.least, spread.greatest)


def _percentiles(rounds: Iterable[Sequence[float]]) -> str:
    each = [values for values in rounds if values]
    if not each:
        return ""
    half = Spread.of([percentile(values, 50) * 1000 for values in each]).median
    most = Spread.of([percentile(values, 99) * 1000 for values in each]).median
    return f"{half:.1f} / {most:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
