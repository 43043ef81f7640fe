"""Starts the processes of ``tests.store.child`` and makes sure that they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


@contextmanager
def child(what: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the command ``what``. It is killed at the end of the block if it still runs."""
    command = [sys.executable, "-m", "tests.store.child", what, str(path)]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """The next line of the process's output."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
