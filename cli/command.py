"""What every command needs: exit statuses, the error that ends one, settings, and a line for the operator."""

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
    """Whether an order was carried out is not known."""
    UNREACHABLE = 4
    """The service cannot be reached, or cannot do it now. Nothing was done."""


class CommandError(Exception):
    """A command cannot go on; the text is one line for the operator."""

    def __init__(self, text: str, status: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.status = status


def service_settings(log_to: int) -> Settings:
    """The service's settings, and logging as they say, to the stream of that number. Raises SettingsError."""
    settings = Settings.from_environ(os.environ)
    hide(*settings.secret_urls)
    logging.configure(settings.log_level, settings.log_format, Redaction(cards), log_to)
    return settings


def say(text: str) -> None:
    """A line on standard output. A reader that went away must not keep a command from ending what it started."""
    with suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
