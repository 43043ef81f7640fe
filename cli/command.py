"""What every command needs: exit statuses, the errors that end one, settings, and lines for the operator."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from enum import IntEnum

from config import logging
from config.redaction import Redaction, hide
from config.settings import Settings
from domain import cards


class Exit(IntEnum):
    """Exit statuses, for scripts. Ctrl-C: 130."""

    DONE = 0
    FAILED = 1
    """It failed, or the service refused it."""
    USAGE = 2
    """A setting or an argument is wrong."""
    UNKNOWN = 3
    """An order may have been carried out, or was and its answer could not be written: look before you repeat it."""
    UNREACHABLE = 4
    """The service cannot be reached, or itself answers that it cannot do it now. Nothing was done."""


class CommandError(Exception):
    """A command cannot go on; the text is one line for the operator."""

    def __init__(self, text: str, status: Exit = Exit.FAILED, problem: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.problem = problem
        """The name of the service's problem, if the answer was one."""


class OutputError(CommandError):
    """Standard output does not take what was asked for."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror or error}")


class ReaderGoneError(OutputError):
    """Whoever read standard output has gone: he has all that he wanted, as of a list that goes through head."""


def service_settings(log_to: int, *, buffer: bool = False) -> Settings:
    """The service's settings, and logging as they say, to the stream of that number. Raises SettingsError.

    With ``buffer`` logging never waits for the reader, as a server needs.
    """
    settings = Settings.from_environ(os.environ)
    hide(*settings.secret_urls)
    logging.configure(settings.log_level, settings.log_format, Redaction(cards), log_to, buffer=buffer)
    return settings


def write(text: str) -> None:
    """What was asked for, on standard output and at once. Raises OutputError."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError(error) from error
    except OSError as error:
        raise OutputError(error) from error


def say(text: str) -> None:
    """A line on how a command gets on, whose status tells the end: nothing must keep it from what it started."""
    with suppress(OutputError):
        write(f"{text}\n")


def remark(text: str) -> None:
    """A line on standard error. Where that takes nothing the command goes on: its status has to do."""
    if sys.stderr is not None:  # closed by whoever started it
        with suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
