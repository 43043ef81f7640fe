#!/usr/bin/env python
"""The operator's command line: each command is a module of ``cli``.

Only the module of the given command is imported: ``simulator`` must patch itself before other modules are loaded.
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
        "Check the stored events and the read tables; may run beside the service. Exit status 1: a problem was found."
    ),
    "backup": "Copy the embedded store to one file and check the copy; may run beside the service.",
    "keys": "Create, list and revoke the API keys of clients; may run beside the service.",
    "rebuild": (
        "Rebuild the read tables from the events, while no service runs. Exit status 1: a stream was left unchanged."
    ),
    "restored": (
        "Mark a restored database, once, while no service runs: unfinished work counts as possibly sent. Lists what to"
        " compare with the providers."
    ),
    "relay": "Show how far events are published, publish some again, and skip one that the broker refuses.",
    "transactions": "List, refund, capture or void transactions, and resolve one as the provider confirmed.",
    "customers": "Show a customer, and adjust a balance.",
    "dead-letters": "List dead letters, retry or discard them.",
    "reviews": "List contradictions between the record and the gateways, and close reviews.",
    "callbacks": "List callbacks that wait for their transaction.",
    "breaker": "Show the gateways' circuit breakers, and force one open or closed.",
    "tail": "Follow all events.",
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
    if sys.stdout is None:  # the next file that is opened would take its descriptor, and get the output
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
    """Whether it holds bytes that are not UTF-8; Python represents them as lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in argument)


if __name__ == "__main__":
    occupy()
    sys.exit(main(sys.argv[1:]))
