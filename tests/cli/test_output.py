"""Tables for terminals, lines for pipes, JSON for scripts; foreign text cannot control the terminal."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Final

import pytest

from cli import transactions
from cli.output import Column, Columns, Output
from cli.text import at, printable, shown

EVIL: Final = "\x1b[31mred\x07\r\n[bold]no[/bold] :smile: \u202eturned \x9b2J \udcff ünï"
HARMLESS: Final = "\\x1b[31mred\\x07\\r\\n[bold]no[/bold] :smile: \\u202eturned \\x9b2J \\udcff ünï"
LONG: Final = "0123456789" * 20
COLUMNS: Final[Columns] = {
    "ID": Column(lambda it: shown(it["id"]), is_whole=True),
    "REASON": Column(lambda it: shown(it["reason"])),
}
ID: Final = "01a2233a-c5d4-7091-9da5-5f212d3a1673"
LONG_ID: Final = "customer-" + "x" * 30
TRANSACTION: Final = {
    "transaction_id": ID,
    "type": "withdrawal",
    "status": "completed",
    "attention": "dead_letter",
    "amount": "100.00",
    "currency": "USD",
    "gateway": "gatewayA",
    "customer_id": LONG_ID,
    "created_at": "2026-11-21T10:00:00.123456Z",
}


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_printable() -> None:
    """Unprintable characters are escaped; printable ones stay."""
    assert printable(EVIL) == HARMLESS
    assert printable("plain, 100 %: [x]") == "plain, 100 %: [x]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ([], "-"),
        ({}, "-"),
        (0, "0"),
        ("", ""),
        (["EUR", "USD"], "EUR USD"),
        ({"code": "x\n", "why": {"a": None}}, "code=x\\n why=a=-"),
        ({"\x1b": "v"}, "\\x1b=v"),
    ],
)
def test_shown(value: object, text: str) -> None:
    """Any JSON value becomes one line without control characters."""
    assert shown(value) == text


def test_times() -> None:
    """Times are shown to the second. Text that is not a time is escaped."""
    assert at("2026-11-21T10:00:00.123456Z") == "2026-11-21 10:00:00Z"
    assert at(None) == "-"
    assert "\x1b" not in at(EVIL)


def test_a_pipe_gets_lines_that_are_neither_folded_nor_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe, ids are neither folded nor cut, and columns are aligned, also on later pages."""
    pages = [([{"id": "a", "reason": EVIL}], True), ([{"id": LONG, "reason": "x"}], False)]
    Output(as_json=False).listing(COLUMNS, pages)
    out = capsys.readouterr().out
    assert out.splitlines() == ["ID  REASON", f"a   {HARMLESS}", f"{LONG}  x"]


def test_a_terminal_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal nothing is cut, no text is interpreted as markup, and no text moves the cursor."""
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(as_json=False).listing(COLUMNS, [([{"id": ID, "reason": EVIL}], False)])
    text = re.sub(r"\x1b\[[01]?m", "", terminal.getvalue())  # the headings are bold
    assert max(map(len, text.splitlines())) <= 100
    assert ID in text
    assert "[bold]no[/bold]" in text
    assert not {one for one in text if one != "\n" and not one.isprintable()}


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160, 200])
def test_an_id_is_never_folded(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """On a narrow terminal an id stays in one piece; other columns fold or are left out."""
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(as_json=False).listing(transactions._COLUMNS, [([TRANSACTION], False)])
    Output(as_json=False).thing({}, [("transaction_id", ID), ("details", LONG)])
    text = terminal.getvalue()
    assert text.count(ID) == 2
    assert LONG_ID in text
    assert LONG in text
    assert "completed" in text


def test_columns_that_are_left_out_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns that are left out are named on standard error; a wide terminal shows all."""
    for width, expected in ((200, ""), (120, "left out on this narrow terminal: ATTENTION, GATEWAY, CREATED\n")):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(sys, "stdout", Terminal())
        Output(as_json=False).listing(transactions._COLUMNS, [([TRANSACTION], False)])
        assert capsys.readouterr().err == expected


def test_amounts_are_aligned_at_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal amounts are aligned at their end, so that operators can compare them."""
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    small = {**TRANSACTION, "amount": "7.00"}
    Output(as_json=False).listing(transactions._COLUMNS, [([TRANSACTION, small], False)])
    ends = [line.index(" USD") for line in terminal.getvalue().splitlines() if " USD" in line]
    assert len(ends) == 2
    assert ends[0] == ends[1]


@pytest.mark.parametrize("terminal", [True, False])
def test_json(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    """JSON output has one object per line, unchanged and in ASCII, on a terminal as well."""
    out = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    item = {"id": LONG, "reason": EVIL, "nested": [{"n": 1.5}], "none": None}
    output = Output(as_json=True)
    output.listing(COLUMNS, [([item], False)])
    output.thing(item, [("id", "x")])
    output.line(item, "x")
    lines = out.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [item] * 3
    assert out.getvalue().isascii()


def test_an_encoding_that_lacks_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with the encoding ASCII causes no error."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Output(as_json=False).line({}, "ü")
    assert raw.getvalue() == b"\\xfc\n"


def test_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list prints nothing on standard output, and a message on standard error."""
    Output(as_json=False).listing(COLUMNS, [([], False)])
    assert capsys.readouterr() == ("", "none\n")
