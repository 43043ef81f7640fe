"""Append-only files of JSON lines that are on disk when ``append`` returns. The lines' content is opaque here."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path


class _PendingLines:
    """Lines that share one write and one sync."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.done = threading.Event()


class DurableLines:
    """One file. Lines that arrive during a sync share the next one, so that one sync serves many writers.

    ``sync`` flushes a file descriptor to disk; under greenlets it must not block the others. ``lines`` are the lines
    on disk, in order, without line ends.
    """

    def __init__(self, path: Path, sync: Callable[[int], None] = os.fsync) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sync = sync
        self._file = path.open("a+b", buffering=0)
        self.lines: list[bytes] = self._read()
        _sync_directory(path.parent)  # else a power failure can lose the new file's name
        self._lock = threading.Lock()
        self._batch = _PendingLines()
        self._wake = threading.Event()
        threading.Thread(target=self._write, name=f"journal-{path.name}", daemon=True).start()

    def append(self, line: bytes) -> None:
        """Write ``line``, which holds no line feed; it is on disk when this returns."""
        with self._lock:
            batch = self._batch
            batch.lines.append(line)
        self._wake.set()
        batch.done.wait()

    def _read(self) -> list[bytes]:
        """Read the lines of an earlier run. A last line without a line end was never acknowledged, and is removed."""
        self._file.seek(0)
        whole, _, torn = self._file.read().rpartition(b"\n")
        if torn:
            self._file.truncate(len(whole) + 1 if whole else 0)
        return whole.split(b"\n") if whole else []

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                batch, self._batch = self._batch, _PendingLines()
            if not batch.lines:
                continue
            try:
                data = memoryview(b"".join(line + b"\n" for line in batch.lines))
                while data:
                    data = data[self._file.write(data) :]
                self._sync(self._file.fileno())
            except OSError as error:
                # Without a record the provider must not answer: end at once, so that no waiting call is answered.
                sys.stderr.write(f"simulator: cannot write its ledger: {error}\n")
                os._exit(1)
            self.lines += batch.lines
            batch.done.set()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
