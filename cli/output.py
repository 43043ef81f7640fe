"""What was asked for, on standard output: tables on a terminal, plain lines for pipes, JSON for scripts.

A row's cells and a thing's values are texts that ``cli.text`` has made harmless; rich is never given markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.client import Json
from cli.command import remark, write

Columns = dict[str, Callable[[Json], str]]
"""Headings in their order, and how an item's cell is made."""

_GAP: Final = "  "


class Output:
    """Writes to standard output, at once, and what is for people besides to standard error. Raises OutputError."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False) if sys.stdout.isatty() and not as_json else None

    def listing(self, columns: Columns, pages: Iterable[tuple[Sequence[Json], bool]]) -> None:
        """A list page by page, as soon as each is there, and a word when it is not all."""
        widths = [len(heading) for heading in columns]
        count, is_cut = 0, False
        for items, more in pages:
            is_cut = more
            if self.as_json:
                self._json_lines(items)
            elif items:
                rows = [[cell(item) for cell in columns.values()] for item in items]
                self._rows(list(columns), rows, widths, with_heading=not count)
            count += len(items)
        if not count:
            remark("none")
        elif is_cut:
            remark(f"the first {count}; more with --limit or --all")

    def thing(self, item: Json, values: Iterable[tuple[str, str]]) -> None:
        """One object: ``item`` for scripts, ``values`` by their names for people."""
        if self.as_json:
            self._json_lines([item])
            return
        rows = [[f"{name}:", value] for name, value in values]
        self._rows([], rows, [0, 0], with_heading=False)

    def line(self, item: Json, text: str) -> None:
        """One of many that come one by one."""
        if self.as_json:
            self._json_lines([item])
        else:
            self._write([text])

    def _rows(self, headings: list[str], rows: list[list[str]], widths: list[int], *, with_heading: bool) -> None:
        if self._console is not None:
            with self._console.capture() as captured:
                self._console.print(_table(headings, rows))
            write(captured.get())
            return
        lines = [headings, *rows] if with_heading else rows
        for number in range(len(widths)):
            widths[number] = max(widths[number], *(len(line[number]) for line in lines))
        # Neither folded nor cut: whoever searches the lines for an id finds it.
        self._write(
            _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _json_lines(self, items: Iterable[Json]) -> None:
        # In ASCII: a terminal that shows them takes no orders from what is in them.
        self._write(json.dumps(item) for item in items)

    @staticmethod
    def _write(lines: Iterable[str]) -> None:
        write("".join(f"{line}\n" for line in lines))


def _table(headings: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD if headings else None, show_header=bool(headings), pad_edge=False)
    for heading in headings or ("", ""):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
