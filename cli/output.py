"""Results on standard output: tables on a terminal, plain lines for pipes, JSON for scripts.

Cells and values are texts that ``cli.text`` has escaped; rich never gets markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.command import remark, write


class Column(NamedTuple):
    """How an item's cell is made, and how the column behaves on a terminal."""

    cell: Callable[[Json], str]
    is_whole: bool = False
    """Never folded: an id, which operators copy."""
    is_right: bool = False
    is_optional: bool = False
    """Left out on a narrow terminal, the last column first."""


Columns = dict[str, Column]
"""Headings in their order."""

_GAP: Final = "  "
_BETWEEN: Final = 3
"""Characters between two columns of a table."""
_FOLDED: Final = 12
"""Minimum width of a folding column."""


class Output:
    """Writes results to standard output, unbuffered, and messages to standard error. Raises OutputError."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False) if sys.stdout.isatty() and not as_json else None

    def listing(self, columns: Columns, pages: Iterable[tuple[Sequence[Json], bool]]) -> None:
        """Write a list page by page as the pages arrive, and a message when more items exist."""
        widths = [len(heading) for heading in columns]
        count, is_cut = 0, False
        left_out: set[str] = set()
        for items, more in pages:
            is_cut = more
            if self.as_json:
                self._json_lines(items)
            elif items:
                rows = [[column.cell(item) for column in columns.values()] for item in items]
                fitting = None if self._console is None else _fitting(columns, rows, self._console.width)
                if self._console is None or fitting is None:
                    self._rows([*columns], rows, widths, with_heading=not count)
                else:
                    left_out |= columns.keys() - fitting
                    with self._console.capture() as captured:
                        self._console.print(_table(columns, rows, fitting))
                    write(captured.get())
            count += len(items)
        if left_out:
            remark(f"left out on this narrow terminal: {', '.join(it for it in columns if it in left_out)}")
        if not count:
            remark("none")
        elif is_cut:
            remark(f"the first {count}; more with --limit or --all")

    def thing(self, item: Json, values: Iterable[tuple[str, str]]) -> None:
        """Write one object: ``item`` for scripts, or ``values`` by their names."""
        if self.as_json:
            self._json_lines([item])
            return
        rows = [[f"{name}:", value] for name, value in values]
        self._rows([], rows, [0, 0], with_heading=False)

    def line(self, item: Json, text: str) -> None:
        """Write one item of a stream."""
        if self.as_json:
            self._json_lines([item])
        else:
            self._write([text])

    def _rows(self, headings: list[str], rows: list[list[str]], widths: list[int], *, with_heading: bool) -> None:
        lines = [headings, *rows] if with_heading else rows
        for number in range(len(widths)):
            widths[number] = max(widths[number], *(len(line[number]) for line in lines))
        # Neither folded nor cut, so that ids can be searched and copied.
        self._write(
            _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _json_lines(self, items: Iterable[Json]) -> None:
        # In ASCII, so that no control sequence in the data reaches a terminal.
        self._write(json.dumps(item) for item in items)

    @staticmethod
    def _write(lines: Iterable[str]) -> None:
        write("".join(f"{line}\n" for line in lines))


def _fitting(columns: Columns, rows: list[list[str]], width: int) -> dict[str, int] | None:
    """The columns that fit into ``width``, with their minimum widths; None when the required ones do not fit."""
    needs = {}
    for number, (heading, column) in enumerate(columns.items()):
        natural = max(map(cell_len, (heading, *(row[number] for row in rows))))
        needs[heading] = natural if column.is_whole else min(natural, max(_FOLDED, cell_len(heading)))
    is_optional = [heading for heading, column in columns.items() if column.is_optional]
    while sum(needs.values()) + _BETWEEN * (len(needs) - 1) > width:
        if not is_optional:
            return None
        del needs[is_optional.pop()]
    return needs


def _table(columns: Columns, rows: list[list[str]], needs: dict[str, int]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading, least in needs.items():
        column = columns[heading]
        justify: JustifyMethod = "right" if column.is_right else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=column.is_whole, min_width=least)
    shown = [number for number, heading in enumerate(columns) if heading in needs]
    for row in rows:
        table.add_row(*(Text(row[number]) for number in shown))
    return table
