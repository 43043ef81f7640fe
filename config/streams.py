"""The three standard streams of a process, whatever it was started with."""

from __future__ import annotations

import os
import sys


def occupy() -> None:
    """Open /dev/null in place of each standard stream that is closed.

    What is opened next would take its number, and log lines would go into a database or to a client.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
