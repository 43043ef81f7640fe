"""The same load on an empty database and on one with many customers and events, in turn, to measure their cost.

The clients' customers are drawn from all that are on record, so nearly every deposit is the first of a customer that
the process does not have in memory. On the empty database they are new ones.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import record, wire
from bench.databases import PostgresqlDatabase, SqliteDatabase, new_database
from bench.figures import Spread, ratios
from bench.filling import fill
from bench.history import EVENTS_EACH, MERCHANT, History
from bench.measure import Measured, measure
from bench.servers import ServerError
from bench.setups import ACCEPT, COMPLETE, Conditions

CUSTOMERS: Final = 1_000_000
EVENTS: Final = 10_000_000
FIGURES: Final = (COMPLETE, ACCEPT)
"""Accepted deposits leave work in the filled database, which a service that completes would do: so they come last."""

_VERIFIED: Final = 1_000
_BYTES_PER_EVENT: Final = 1_500


@dataclass(slots=True)
class Many:
    """A figure on one target. The empty database was measured before and after each round with the filled one."""

    conditions: Conditions
    figure: str
    events: int
    """Stored before."""
    empty: list[Measured] = field(default_factory=list)
    filled: list[Measured] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Those of the filled database."""

    @property
    def ratio(self) -> float:
        """The rate with the filled database divided by that with the empty one, the median of the rounds."""
        return Spread.of(self.ratios).median

    @property
    def ratios(self) -> list[float]:
        """The same of each round."""
        return ratios([one.rate for one in self.filled], [one.rate for one in self.empty])

    @property
    def ratio_by_cpu(self) -> float:
        """The ratio of the rates if no process ever had to wait for a core or a disk."""
        empty, filled = (Spread.of([one.cpu_us for one in runs]).median for runs in (self.empty, self.filled))
        return empty / max(1.0, filled)

    def all_problems(self) -> list[str]:
        """All problems, with where."""
        found = [problem for one in (*self.empty, *self.filled) for problem in one.problems] + self.problems
        return [f"{self.conditions.target.name}: {self.figure} with many customers: {one}" for one in found]


def many(
    conditions: Conditions,
    rounds: int,
    say: Callable[[str], None],
    *,
    figures: Sequence[str] = FIGURES,
    customers: int = CUSTOMERS,
    events: int = EVENTS,
) -> list[Many]:
    """Fill a database, measure, and drop it. Raises ServerError."""
    conditions = replace(conditions, customers=customers)
    deposits = -(-events // EVENTS_EACH)
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name:
        _require_space(Path(name), events * _BYTES_PER_EVENT)
        with new_database(conditions.target, Path(name)) as database:
            say(f"storing {deposits:,} deposits of {customers:,} customers")
            fill(database, History(customers, deposits, datetime.now(UTC)), say)
            rows = [_measure_figure(Many(conditions, figure, events), rounds, database, say) for figure in figures]
            say(f"  verifying {_VERIFIED:,} customers")
            rows[-1].problems += record.verify_streams(database, MERCHANT, _sample(customers))
            return rows


def _require_space(folder: Path, needed: int) -> None:
    if (free := shutil.disk_usage(folder).free) < needed:
        raise ServerError(f"{folder} has {free / 1e9:.0f} GB of free space; {needed / 1e9:.0f} are needed")


def _measure_figure(
    row: Many, rounds: int, database: SqliteDatabase | PostgresqlDatabase, say: Callable[[str], None]
) -> Many:

    def run(filled: SqliteDatabase | PostgresqlDatabase | None) -> Measured:
        measured = measure(row.figure, row.conditions, filled=filled)
        say(
            f"  {row.figure:13} {measured.rate:7,.0f}/s {measured.cpu_us:6,.0f} us of CPU each,"
            f" {'empty' if filled is None else 'filled'} database, {measured.first_touches:.0%} first touches"
            + (f", {len(measured.problems)} problems" if measured.problems else "")
        )
        return measured

    for _ in range(rounds):
        row.empty.append(run(None))
        row.filled.append(run(database))
    row.empty.append(run(None))
    return row


def _sample(customers: int) -> Sequence[str]:
    every = wire.customers(customers, wire.SEED)
    return random.Random(wire.SEED).sample(every, min(_VERIFIED, customers))
