"""``manage.py rebuild``: rebuild the read tables, with a progress bar on terminals and progress lines elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.command import CommandError, Exit, say, service_settings
from cli.text import printable
from config import logging
from config.settings import CHECKOUT
from store.backends import backend_of
from store.errors import StoreError
from store.rebuild import Tally, rebuild

_EPILOG: Final = """\
Streams with unsound events, and streams whose rows contain more than their events, are listed and stay as they are.
An interruption does no harm: run the command again.
On PostgreSQL it needs the role that owns the tables (PAYMENTS_MIGRATION_DATABASE_URL).

exit status:
  0    the read tables agree with the events
  1    a stream stays as it is, a service runs, or the database does not answer
  2    an argument or a setting is wrong
  130  Ctrl-C
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare whether missing events are accepted."""
    parser.add_argument(
        "--accept-cut",
        action="store_true",
        help="also rebuild streams that have lost their last events; their newer rows are lost then",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Rebuild, and print the result."""
    settings = service_settings(logging.STDERR)
    tally, problems = Tally(), 0
    try:
        with (
            backend_of(settings.migration_database_url, root=CHECKOUT).rebuild() as store,
            _progress(store.last_position()) as advance,
        ):
            for problem in rebuild(store, tally, accept_cut=arguments.accept_cut):
                advance(tally)
                if problem is not None:
                    problems += 1
                    stream = "/".join(problem.stream) if problem.stream else "-"
                    say(printable(f"left unchanged: {stream} version {problem.version or '-'}: {problem.text}"))
    except StoreError as error:
        raise CommandError(f"{error} ({_counts(tally)})" if tally.streams else str(error)) from error
    say(f"{_counts(tally)}, {problems} problems")
    return Exit.FAILED if problems else Exit.DONE


def _counts(tally: Tally) -> str:
    return f"{tally.streams} streams, {tally.events} events, {tally.rebuilt} streams rebuilt"


@contextmanager
def _progress(events: int) -> Iterator[Callable[[Tally], None]]:
    """Yield a function that reports the progress, of about ``events`` events."""
    if not sys.stdout.isatty():
        yield _tenths(events)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(highlight=False)) as bar:
        task = bar.add_task("events", total=events)
        yield lambda tally: bar.update(task, completed=min(tally.events, events))
        bar.update(task, completed=events)


def _tenths(events: int) -> Callable[[Tally], None]:
    reported = 0

    def advance(tally: Tally) -> None:
        nonlocal reported
        tenth = min(10 * tally.events // max(events, 1), 10)
        if tenth > reported:
            reported = tenth
            say(f"{10 * tenth} % of about {events} events")

    return advance
