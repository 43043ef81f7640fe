"""The three standard streams of a process, also when it was started without them."""

from __future__ import annotations

import os
import sys
from typing import TextIO, cast

from config.log_writer import BufferedWriter, buffered
from config.redaction import Redaction


def occupy() -> None:
    """Open /dev/null in place of each standard stream that is closed.

    Otherwise the next opened file takes its number, and log lines go into a database or to a client.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # open() takes the lowest free number, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


class _RedactedStream:
    """Standard error for output outside logging, such as uncaught errors in Python, gevent and gunicorn.

    With a ``writer``, whole lines go through it, so that a write never waits for the reader.
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
    """Redact everything that Python code writes to this process's standard error."""
    sys.stderr = cast("TextIO", _RedactedStream(sys.stderr, redaction, buffered(2) if buffer else None))
