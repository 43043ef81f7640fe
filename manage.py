#!/usr/bin/env python
"""The commands of an operator by their names; the work is done by the modules of ``cli``, one for each.

A module is imported when its command is asked for: ``simulator`` must not have what others bring before it is patched.
"""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))

from cli.command import CommandError, Exit, ReaderGoneError, remark
from config.settings import SettingsError
from config.streams import occupy

COMMANDS: Final = {
    "dev": "Run everything on this machine, until Ctrl-C: migrations, simulated providers and service.",
    "migrate": "Create the database's tables, or bring them to this version.",
    "simulator": "Run the simulated payment providers.",
    "verify": (
        "Check the stored events and what is derived from them; may run beside the service. 1: something is wrong."
    ),
    "backup": "Copy the embedded store to one file and check the copy; may run beside the service.",
    "keys": "Make, list and revoke the API keys of callers; may run beside the service.",
    "rebuild": "Write the read tables anew from the events, while no service runs. 1: some stream was left as it is.",
    "restored": (
        "Mark a restored database, once, while no service runs: unfinished work counts as possibly sent. Lists what to"
        " compare with the providers."
    ),
    "transactions": "Look at transactions, and say how one ended.",
    "customers": "Look at a customer, and correct a balance.",
    "dead-letters": "Look at what failed too often, try it again, or give it up.",
    "reviews": "Show contradictions of the record with what the gateway said, and close reviews.",
    "callbacks": "Show callbacks that wait for their transaction.",
    "breaker": "Look at the gateways' circuit breakers, and hold one open or closed.",
    "tail": "Follow everything that happens.",
}


def main(command_line: list[str]) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="manage.py", description="Commands of the payment gateway service.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {name: subparsers.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    name = command_line[0] if command_line and command_line[0] in COMMANDS else ""
    command = import_module(f"cli.{name.replace('-', '_')}") if name else None
    if command is not None:
        command.add_arguments(parsers[name])
        if any(_is_not_text(argument) for argument in command_line):
            parsers[name].error("every argument must be UTF-8 text")
    arguments = parser.parse_args(command_line)
    assert command is not None  # else the line above has ended the program
    if sys.stdout is None:  # what is opened next would take its place and get what is meant for a reader
        remark(f"manage.py {name}: standard output is closed; nothing was done")
        return Exit.FAILED
    try:
        return int(command.run(arguments))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except ReaderGoneError:
        return Exit.DONE
    except SettingsError as error:
        remark(f"{error}")
        return Exit.USAGE
    except CommandError as error:
        remark(f"manage.py {name}: {error}")
        return error.status


def _is_not_text(argument: str) -> bool:
    """Whether it holds bytes that are not UTF-8, which Python keeps as lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in argument)


if __name__ == "__main__":
    occupy()
    sys.exit(main(sys.argv[1:]))
