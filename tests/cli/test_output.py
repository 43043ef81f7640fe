"""Tables for terminals and pipes, JSON for scripts; what came from outside orders nothing about a terminal."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Final

import pytest

from cli.output import Columns, Output
from cli.text import at, printable, shown

EVIL: Final = "\x1b[31mred\x07\r\n[bold]no[/bold] :smile: \u202eturned \x9b2J \udcff ünï"
HARMLESS: Final = "\\x1b[31mred\\x07\\r\\n[bold]no[/bold] :smile: \\u202eturned \\x9b2J \\udcff ünï"
LONG: Final = "0123456789" * 20
COLUMNS: Final[Columns] = {"ID": lambda it: shown(it["id"]), "REASON": lambda it: shown(it["reason"])}


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """It is."""
        return True


def test_printable() -> None:
    """What does not show itself is escaped, whatever shows itself stays."""
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
    """Any JSON value is one harmless line."""
    assert shown(value) == text


def test_times() -> None:
    """To the second; what is no time is harmless all the same."""
    assert at("2026-11-21T10:00:00.123456Z") == "2026-11-21 10:00:00Z"
    assert at(None) == "-"
    assert "\x1b" not in at(EVIL)


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """However long an id is, a search of the lines finds it; columns stand below each other, on later pages as well."""
    pages = [([{"id": "a", "reason": EVIL}], True), ([{"id": LONG, "reason": "x"}], False)]
    Output(as_json=False).listing(COLUMNS, pages)
    out = capsys.readouterr().out
    assert out.splitlines() == ["ID  REASON", f"a   {HARMLESS}", f"{LONG}  x"]


def test_a_terminal_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal nothing is cut off, nothing is taken for markup, and nothing moves the cursor."""
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(as_json=False).listing(COLUMNS, [([{"id": LONG, "reason": EVIL}], False)])
    Output(as_json=False).thing({}, [("reason", shown(EVIL))])
    text = re.sub(r"\x1b\[[01]?m", "", terminal.getvalue())  # the headings are bold
    assert max(map(len, text.splitlines())) <= 60
    assert sum(one.isdigit() for one in text) >= len(LONG)
    assert "[bold]no[/bold]" in text
    assert not {one for one in text if one != "\n" and not one.isprintable()}


@pytest.mark.parametrize("terminal", [True, False])
def test_json(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    """One object a line, as it was given and in ASCII, on a terminal as well."""
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
    """A terminal of ASCII is no error."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Output(as_json=False).line({}, "ü")
    assert raw.getvalue() == b"\\xfc\n"


def test_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing on standard output, a word for people beside it."""
    Output(as_json=False).listing(COLUMNS, [([], False)])
    assert capsys.readouterr() == ("", "none\n")
