"""The three standard streams of a process, whatever it was started with."""

from __future__ import annotations

import os
import sys
from typing import TextIO, cast

from config.log_writer import BufferedWriter, buffered
from config.redaction import Redaction


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


class _RedactedStream:
    """Standard error: what Python, gevent and gunicorn say there past all logging, as of an uncaught error.

    With a ``writer``, whole lines go through it, which waits for no reader.
    """

    def __init__(self, stream: TextIO, redaction: Redaction, writer: BufferedWriter | None) -> None:
        self._stream, self._redaction, self._writer = stream, redaction, writer
        self._begun = ""

    def write(self, text: str) -> int:
        if self._writer is None:
            self._stream.write(self._redaction.text(text))
            return len(text)
        with self._writer.lock:
            lines, newline, self._begun = (self._begun + text).rpartition("\n")
        if newline:
            self._pass_on(lines + newline)
        return len(text)

    def flush(self) -> None:
        if self._writer is None:
            self._stream.flush()
        elif self._begun:
            with self._writer.lock:
                begun, self._begun = self._begun, ""
            self._pass_on(begun)

    def _pass_on(self, text: str) -> None:
        assert self._writer is not None
        self._writer.write(self._redaction.text(text).encode("utf-8", "backslashreplace"))

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def redact_stderr(redaction: Redaction, *, buffer: bool = False) -> None:
    """Let nothing onto this process's standard error, from Python's side, but through ``redaction``."""
    sys.stderr = cast("TextIO", _RedactedStream(sys.stderr, redaction, buffered(2) if buffer else None))
