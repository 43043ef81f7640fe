"""Common parts of all commands: exit statuses, errors, settings, and lines for the operator."""

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
    """The command may have been carried out, or was and its answer could not be written: check before a repetition."""
    UNREACHABLE = 4
    """The service cannot be reached, or answers that it cannot do it now. Nothing was done."""


class CommandError(Exception):
    """A command cannot continue; the text is one line for the operator."""

    def __init__(self, text: str, status: Exit = Exit.FAILED, problem: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.problem = problem
        """The name of the service's problem, if the answer was one."""


class OutputError(CommandError):
    """The result cannot be written to standard output."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror or error}")


class ReaderGoneError(OutputError):
    """The reader of standard output has closed it, as ``head`` does when it has enough lines."""


def service_settings(log_to: int, *, buffer: bool = False) -> Settings:
    """Read the service's settings and configure logging to that file descriptor. Raises SettingsError.

    With ``buffer`` logging never waits for the reader, as a server needs.
    """
    settings = Settings.from_environ(os.environ)
    hide(*settings.secret_urls)
    logging.configure(settings.log_level, settings.log_format, Redaction(cards), log_to, buffer=buffer)
    return settings


def write(text: str) -> None:
    """Write the result to standard output, unbuffered. Raises OutputError."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError(error) from error
    except OSError as error:
        raise OutputError(error) from error


def say(text: str) -> None:
    """Write a progress line. A failure to write it does not stop the command; the exit status shows the result."""
    with suppress(OutputError):
        write(f"{text}\n")


def remark(text: str) -> None:
    """Write a line to standard error. A failure to write it does not stop the command."""
    if sys.stderr is not None:  # closed by the parent process
        with suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
