"""The marks: target values for speed and memory. A missed mark is reported, and is not an error.

No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.brokers import BROKERS
from bench.figures import Spread, ratios
from bench.many import CUSTOMERS, EVENTS, Many
from bench.memory import CUSTOMERS as MEMORY_CUSTOMERS
from bench.peers import Beside
from bench.report import Extras, Outcome
from bench.report_figures import Rounds
from bench.setups import ACCEPT, COMPLETE, COMPLETE_ROUTED, EMPTY
from bench.tables import table


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark. ``value`` is None when it was not measured."""

    what: str
    limit: float
    aim: float
    value: float | None = None
    at_most: bool = False
    """Whether the limit is an upper one."""
    unit: str = ""
    elsewhere: str = ""
    """Where it is measured, if not here."""

    @property
    def is_reached(self) -> bool:
        """Whether the measured value is within the limit."""
        return self.value is not None and self._is_within(self.limit)

    @property
    def verdict(self) -> str:
        """One or a few words."""
        if self.value is None:
            return f"not measured{f': {self.elsewhere}' if self.elsewhere else ''}"
        if not self.is_reached:
            return "missed"
        return "reached, and the aim" if self._is_within(self.aim) else "reached"

    def text(self, value: float) -> str:
        """A value in the form of this mark."""
        return f"{value:,.0f} {self.unit}" if self.unit else f"{value:.2f}"

    def limit_text(self, value: float) -> str:
        """A limit in the form of this mark."""
        return f"{'≤' if self.at_most else '≥'} {self.text(value)}"

    def _is_within(self, limit: float) -> bool:
        assert self.value is not None
        return self.value <= limit if self.at_most else self.value >= limit


def of_run(outcomes: Sequence[Outcome], extras: Extras) -> list[Mark]:
    """All marks, in the order of the page."""
    of_memory = None if extras.memory is None or extras.memory.problem else extras.memory.after
    return [
        *of_outcomes(outcomes),
        of_peer(extras.beside),
        of_a_worker(of_memory, MEMORY_CUSTOMERS),
        *of_relays(outcomes),
        *of_many(()),
    ]


def of_outcomes(outcomes: Sequence[Outcome]) -> list[Mark]:
    """The marks of both stores, as ratios to the empty resource."""
    embedded = next((one.rounds for one in outcomes if not one.conditions.target.server_url), {})
    server = next(
        (one.rounds for one in outcomes if one.conditions.target.server_url and one.conditions.target.workers == 2), {}
    )
    return [
        Mark("SQLite: accepted ÷ empty", 0.5, 0.7, _to_empty(embedded, ACCEPT)),
        Mark("SQLite: completed ÷ empty", 0.25, 0.35, _to_empty(embedded, COMPLETE)),
        Mark("PostgreSQL, 2 workers: completed ÷ empty", 0.18, 0.3, _to_empty(server, COMPLETE)),
        Mark("the same with routed clients", 0.22, 0.3, _to_empty(server, COMPLETE_ROUTED)),
    ]


def _to_empty(rounds: Rounds, figure: str) -> float | None:
    rates, bases = ([one.rate for one in rounds.get(name, ())] for name in (figure, EMPTY))
    return Spread.of(ratios(rates, bases)).median if rates and len(bases) == len(rates) + 1 else None


def of_peer(beside: Sequence[Beside]) -> Mark:
    """The mark beside the hand-written service, with the better number of workers."""
    best = max((one.ratio for one in beside if one.ratio is not None), default=None)
    return Mark("PostgreSQL: completed ÷ hand-written service", 1.3, 2.0, best)


def of_a_worker(worker_bytes: float | None, customers: int) -> Mark:
    """The mark of a worker's memory."""
    value = None if worker_bytes is None else worker_bytes / 1e6
    return Mark(f"memory of a worker with {customers:,} customers", 400, 250, value, at_most=True, unit="MB")


def of_relays(outcomes: Sequence[Outcome]) -> list[Mark]:
    """The marks of publishing, for both stores and every broker."""
    measured = {
        (bool(outcome.conditions.target.server_url), row.broker): row.ratio
        for outcome in outcomes
        for row in outcome.relaying
    }
    return [
        Mark(
            f"{store}: CPU of publishing to {broker.name} ÷ completing",
            0.5,
            0.2,
            measured.get((on_server, broker.name)),
            at_most=True,
        )
        for store, on_server in (("SQLite", False), ("PostgreSQL", True))
        for broker in BROKERS
    ]


def of_many(rows: Sequence[Many]) -> list[Mark]:
    """The marks with many customers and events, as ratios to an empty database."""
    measured = {(bool(row.conditions.target.server_url), row.figure): row.ratio for row in rows}
    what = f"with {CUSTOMERS:,} customers and {EVENTS:,} events ÷ empty database"
    return [
        Mark(f"{store}: {word} {what}", 0.9, 1.0, measured.get((on_server, figure)), elsewhere="make bench-scale")
        for store, on_server in (("SQLite", False), ("PostgreSQL", True))
        for word, figure in (("accepted", ACCEPT), ("completed", COMPLETE))
    ]


def render(marks: Sequence[Mark]) -> str:
    """The table of the marks."""
    header = ["mark", "measured", "limit", "aim", ""]
    rows = [
        [
            mark.what,
            "" if mark.value is None else mark.text(mark.value),
            mark.limit_text(mark.limit),
            mark.limit_text(mark.aim),
            mark.verdict,
        ]
        for mark in marks
    ]
    return table(header, rows)


def say(marks: Iterable[Mark], line: Callable[[str], None]) -> None:
    """Print each mark on a line."""
    for mark in marks:
        measured = "" if mark.value is None else f" {mark.text(mark.value)}"
        line(f"mark: {mark.what}:{measured} ({mark.limit_text(mark.limit)}): {mark.verdict}")
