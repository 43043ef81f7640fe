"""Markdown tables, and the formats of their values. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.figures import Spread, percentile


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose other columns are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float], template: str) -> str:
    """The median, and in brackets the minimum and the maximum if there are several values."""
    of = Spread.of(values)
    if len(values) == 1:
        return template.format(of.median)
    return f"{template} ({template}..{template})".format(of.median, of.least, of.greatest)


def median(values: Iterable[float], template: str) -> str:
    """The median only."""
    return template.format(Spread.of(list(values)).median)


def percentiles(rounds: Iterable[Sequence[float]]) -> str:
    """The median of the rounds' medians and the median of their 99th percentiles, from seconds to milliseconds."""
    each = [values for values in rounds if values]
    if not each:
        return ""
    half = Spread.of([percentile(values, 50) * 1000 for values in each]).median
    most = Spread.of([percentile(values, 99) * 1000 for values in each]).median
    return f"{half:.1f} / {most:.1f}"
