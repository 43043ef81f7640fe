"""``manage.py verify``: print each problem that ``store.verify`` finds on one line."""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.command import CommandError, Exit, ReaderGoneError, remark, service_settings, write
from cli.text import printable, without_password
from config import logging
from config.settings import CHECKOUT
from store.backends import backend_of
from store.errors import StoreError
from store.verify import Tally, export_heads, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of exported heads."""
    parser.add_argument("--heads", type=Path, metavar="FILE", help="heads exported earlier, which show a cut tail")
    parser.add_argument("--export-heads", type=Path, metavar="FILE", help="write all heads if there are no problems")


def run(arguments: argparse.Namespace) -> int:
    """Check the stored events and the rows derived from them. Returns 1 when there are problems."""
    settings = service_settings(logging.STDERR)
    tally, problems = Tally(), 0
    try:
        backend = backend_of(settings.database_url, root=CHECKOUT)
        heads = arguments.heads.read_text().splitlines() if arguments.heads else []
        with backend.audit() as audit:
            for problem in verify(audit, heads, tally):
                problems += 1
                stream = "/".join(problem.stream) if problem.stream else "-"
                line = f"{stream} version {problem.version or '-'}: {problem.text}"
                write(f"{printable(line)}\n")
            if arguments.export_heads and not problems:
                arguments.export_heads.write_text("".join(f"{line}\n" for line in export_heads(audit)))
        where = backend.file or without_password(settings.database_url)
        counted = f"{tally.streams} streams, {tally.events} events, {tally.heads} earlier heads, {problems} problems"
        write(f"{counted} in {printable(str(where))}\n")
        if not tally.events:
            remark(printable(f"warning: there are no events in {where}: is it the right database?"))
    except ReaderGoneError:  # the lines before it are correct
        pass
    except (StoreError, OSError, UnicodeDecodeError) as error:
        raise CommandError(str(error)) from error
    return Exit.FAILED if problems else Exit.DONE
