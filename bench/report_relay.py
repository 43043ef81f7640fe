"""The table of the relay: the cost of publishing, compared with completing. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from bench.relaying import Relaying
from bench.tables import spread, table


def render(rows: Sequence[Relaying], *, server: bool) -> str:
    """The CPU time of both per deposit, and their ratio; with PostgreSQL's columns for a target with a ``server``."""
    header = ["published to", "CPU ÷ completing", "events per second", "CPU per deposit, us: relay"]
    header += [*(["PostgreSQL"] if server else []), "completing: workers", *(["PostgreSQL"] if server else [])]
    return table(header, [_row(row, server) for row in rows])


def _row(row: Relaying, server: bool) -> list[str]:  # noqa: FBT001 - columns or none
    def of_server(values: Sequence[float]) -> list[str]:
        return [spread(values, "{:,.0f}")] if server else []

    return [
        row.broker,
        spread(row.ratios, "{:.2f}"),
        spread([one.rate for one in row.relayed], "{:,.0f}"),
        spread([one.relay_us for one in row.relayed], "{:,.0f}"),
        *of_server([one.database_us for one in row.relayed]),
        spread([one.worker_us for one in row.completed], "{:,.0f}"),
        *of_server([one.database_us for one in row.completed]),
    ]
