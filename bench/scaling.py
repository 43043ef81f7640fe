"""The calculation of docs/scaling.md: the measured costs of a deposit at other rates. No I/O.

The result is between two marks in that page. Every complete run rewrites it, so that no figures are copied by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.figures import Spread
from bench.report import Outcome
from bench.setups import COMPLETE
from bench.tables import table

BEGIN: Final = "<!-- figures: written by make bench -->"
END: Final = "<!-- end of figures -->"
RATES: Final = (1_000, 10_000, 100_000)

USED: Final = 0.6
"""The planned use of a core: queues grow long before a core is used completely."""
SERVER_CORES: Final = 16
SERVER_LOG_BYTES_PER_S: Final = 200_000_000

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost of one completed deposit."""

    rate: float
    """Completed deposits per second in the measurement."""
    worker_us: float
    database_us: float
    log_bytes: float
    stored_bytes: float
    """In all tables and indexes, without dead rows."""
    event_bytes: float
    """The part of it in the events, which are never deleted."""

    def workers(self, rate: float) -> int:
        """Worker processes, each of which can use one core."""
        return math.ceil(rate * self.worker_us / 1_000_000 / USED)

    def database_cores(self, rate: float) -> int:
        """Cores of PostgreSQL."""
        return math.ceil(rate * self.database_us / 1_000_000 / USED)

    @property
    def server_rate(self) -> float:
        """Deposits per second of one server of the planned size, limited by its cores or its log."""
        by_cores = SERVER_CORES * USED * 1_000_000 / self.database_us
        return min(by_cores, SERVER_LOG_BYTES_PER_S / self.log_bytes)


def costs(outcome: Outcome) -> Costs | None:
    """The costs from a target's measurements with many customers; None without storage or the server's CPU."""
    runs = outcome.rounds.get(COMPLETE, ())
    storage = next((run.storage for row in outcome.contention for run in row.runs if run.storage is not None), None)
    if not runs or storage is None or not all(run.database_us for run in runs):
        return None
    stored = {one.name: (one.heap_bytes + one.index_bytes) / storage.deposits for one in storage.packed}
    return Costs(
        rate=Spread.of([run.rate for run in runs]).median,
        worker_us=Spread.of([run.worker_us for run in runs]).median,
        database_us=Spread.of([run.database_us for run in runs]).median,
        log_bytes=Spread.of([run.log_bytes for run in runs]).median,
        stored_bytes=sum(stored.values()),
        event_bytes=stored["events"],
    )


def render(of: Costs, facts: Mapping[str, str], *, disturbed: bool) -> str:
    """The tables."""
    source = f"Measured {facts.get('date', '')}, commit {facts.get('commit', '')}; {facts.get('machine', '')}."
    if disturbed:
        source += " **Provisional:** the machine was also busy with other work."
    measured = [
        ["worker, us of CPU", f"{of.worker_us:,.0f}"],
        ["PostgreSQL, us of CPU", f"{of.database_us:,.0f}"],
        ["write-ahead log, bytes", f"{of.log_bytes:,.0f}"],
        ["stored, bytes", f"{of.stored_bytes:,.0f}"],
        ["of these in events, bytes", f"{of.event_bytes:,.0f}"],
        ["completed per second there", f"{of.rate:,.0f}"],
    ]
    at_rates = [
        ["workers", *(f"{of.workers(rate):,}" for rate in RATES)],
        ["PostgreSQL, cores", *(f"{of.database_cores(rate):,}" for rate in RATES)],
        ["write-ahead log, MB/s", *(f"{rate * of.log_bytes / 1e6:,.1f}" for rate in RATES)],
        ["stored in a day, GB", *(f"{rate * of.stored_bytes * _DAY_S / 1e9:,.0f}" for rate in RATES)],
        ["servers of that size", *(f"{math.ceil(rate / of.server_rate):,}" for rate in RATES)],
    ]
    parts = [
        source,
        table(["one completed deposit", "takes"], measured),
        table(["deposits a second", *(f"{rate:,}" for rate in RATES)], at_rates),
        _size_of_server(of),
    ]
    return "\n\n".join(parts)


def _size_of_server(of: Costs) -> str:
    room, log = math.floor(of.server_rate / 100) * 100, SERVER_LOG_BYTES_PER_S / 1_000_000
    return (
        f"A PostgreSQL server of {SERVER_CORES} cores whose disk takes {log:.0f} MB/s of log has room for {room:,}"
        f" deposits a second. All cores are counted as used to {USED:.0%}."
    )


def put(page: str, figures: str) -> str:
    """``page`` with ``figures`` between its marks. Raises ValueError if a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"
