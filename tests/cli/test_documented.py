"""README and docs/operating.md list every command, action and exit status."""

from __future__ import annotations

import argparse
import re
from importlib import import_module
from typing import Final

import pytest

import manage
from cli.command import Exit
from config.settings import CHECKOUT

README: Final = (CHECKOUT / "README.md").read_text("utf-8")
PAGE: Final = (CHECKOUT / "docs/operating.md").read_text("utf-8")
CLIENT_COMMANDS: Final = ("transactions", "customers", "dead-letters", "reviews", "callbacks", "breaker")


def test_every_command_is_in_the_readme() -> None:
    """The table of the README lists every command and nothing else."""
    (table,) = re.findall(r"\| `manage.py` \|.*?\n\n", README, re.DOTALL)
    named = {name for row in table.strip().splitlines()[2:] for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert named == manage.COMMANDS.keys()


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
def test_every_action_is_in_the_docs(command: str) -> None:
    """The row of a command lists each of its actions."""
    parser = argparse.ArgumentParser()
    import_module(f"cli.{command.replace('-', '_')}").add_arguments(parser)
    (actions,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    (row,) = re.findall(rf"^\| `{command}.*$", PAGE, re.MULTILINE)
    assert [name for name in actions.choices if not re.search(rf"\b{name}\b", row)] == []


def test_every_exit_status_is_in_the_docs() -> None:
    """The table of exit statuses lists every status."""
    stated = {int(number) for number in re.findall(r"^\| ([0-9]+) \|", PAGE, re.MULTILINE)}
    assert stated == {*Exit, 130}
