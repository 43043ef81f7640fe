"""Write log lines without waiting for their reader: a bounded buffer, emptied by a thread of the operating system.

It handles descriptors and bytes, not records or formats. It uses threads of the operating system even in a process that
gevent has patched, because a greenlet would block the worker.
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import time
from _queue import Empty, SimpleQueue  # gevent replaces the class in the module ``queue``
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

BUFFER_BYTES_MAX: Final = 512 * 1024
"""The size of one process's buffer for a blocked reader: about 600 deposits."""
FLUSH_S: Final = 2.0
"""The time for which an ending process waits until its last lines are read."""
_FULL_S: Final = 0.02
"""The wait before the next write to a descriptor that another program made non-blocking."""


def _native(module: str, name: str) -> Any:  # noqa: ANN401 - any attribute
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


def write_all(descriptor: int, lines: bytes) -> None:
    """Write immediately, and wait for the reader. Lines that cannot be written are dropped, so callers never fail."""
    try:
        while lines:
            lines = lines[os.write(descriptor, lines) :]
    except OSError:
        return


@dataclass(slots=True)
class _Gap:
    """Lines that did not fit at this place of the buffer."""

    since: float = field(default_factory=time.time)
    lines: int = 0


@dataclass(slots=True)
class _Mark:
    """A place of the buffer. Its lock is released when everything before it is written."""

    lock: Any


def _plain_notice(lines: int, _since: float) -> bytes:
    return b"%d log lines were lost\n" % lines


class BufferedWriter:
    """Accepts whole lines from any thread and from signal handlers, and writes them in order.

    Lines that do not fit are dropped and counted. A line in their place reports the loss as soon as one can be written.
    The thread starts with the first line of a process. A forked child begins with an empty buffer, because
    the parent writes its own lines.
    """

    def __init__(self, descriptor: int, bytes_max: int = BUFFER_BYTES_MAX) -> None:
        self._descriptor, self._bytes_max = descriptor, bytes_max
        self.notice: Callable[[int, float], bytes] = _plain_notice
        """Makes the line that reports how many lines were lost, and since when (seconds since 1970)."""
        self.reset()

    def reset(self) -> None:
        """Reset the state, as a forked child must: it has no thread, and the buffered lines are its parent's."""
        self.lock = _native("_thread", "RLock")()
        """Reentrant, since a signal handler may log during ``write``. Never held during a blocking call."""
        self.lost = 0
        """Lines that were dropped, or could not be written, in this process."""
        self._entries: SimpleQueue[bytes | _Gap | _Mark] = SimpleQueue()
        self._bytes = 0
        self._gap: _Gap | None = None
        self._running = False
        self._unreported, self._unreported_since = 0, 0.0
        self._torn = False

    def write(self, lines: bytes) -> None:
        """Add whole lines to the buffer. Never waits."""
        with self.lock:
            if self._bytes and self._bytes + len(lines) > self._bytes_max:
                self._drop(lines.count(b"\n"))
                return
            if not self._running and not self._start():
                write_all(self._descriptor, lines)
                return
            self._bytes += len(lines)
            self._gap = None
            self._entries.put(lines)

    def flush(self, within_s: float) -> bool:
        """Wait until the buffer is written; False when time runs out. Blocks the whole thread, also one of gevent."""
        with self.lock:
            if not self._running:
                return True
            mark = _Mark(_native("_thread", "allocate_lock")())
            mark.lock.acquire()
            self._entries.put(mark)
        return bool(mark.lock.acquire(timeout=within_s))

    def _drop(self, lines: int) -> None:
        self.lost += lines
        if self._gap is None:
            self._gap = _Gap()
            self._entries.put(self._gap)
        self._gap.lines += lines

    def _start(self) -> bool:
        try:
            _native("_thread", "start_new_thread")(self._run, ())
        except RuntimeError:  # no more threads, or the interpreter is ending
            return False
        self._running = True
        return True

    # what follows runs in the thread

    def _run(self) -> None:
        piece = b""
        while True:
            try:
                entry = self._entries.get(not piece)
            except Empty:
                entry = b""
            # On a pipe, only the data of one write never mixes with the lines of other processes.
            if isinstance(entry, bytes) and entry and len(piece) + len(entry) <= select.PIPE_BUF:
                piece += entry
                continue
            if piece:
                self._deliver(piece)
            piece = b""
            if isinstance(entry, bytes):
                piece = entry
            elif isinstance(entry, _Mark):
                entry.lock.release()
            else:
                self._close_gap(entry)

    def _deliver(self, piece: bytes) -> None:
        reported = self._report_lost()
        written = reported and self._written(piece)
        with self.lock:
            self._bytes -= len(piece)
            if not written:
                self.lost += piece.count(b"\n")
        if not written:
            self._add_unreported(piece.count(b"\n"), time.time())

    def _close_gap(self, gap: _Gap) -> None:
        with self.lock:
            if self._gap is gap:
                self._gap = None
        self._add_unreported(gap.lines, gap.since)
        self._report_lost()

    def _add_unreported(self, lines: int, since: float) -> None:
        if not self._unreported:
            self._unreported_since = since
        self._unreported += lines

    def _report_lost(self) -> bool:
        """Report lost lines, if any. False when nothing can be written now."""
        if not self._unreported:
            return True
        try:
            notice = self.notice(self._unreported, self._unreported_since)
        except Exception:  # noqa: BLE001 - an error in a format must not end the thread
            notice = _plain_notice(self._unreported, self._unreported_since)
        if not self._written(notice):
            return False
        self._unreported = 0
        return True

    def _written(self, lines: bytes) -> bool:
        if self._torn:
            lines = b"\n" + lines
        sleep = _native("time", "sleep")
        while lines:
            try:
                count = os.write(self._descriptor, lines)
            except BlockingIOError:
                sleep(_FULL_S)
            except OSError:
                return False
            else:
                # A line may be cut where a disk is full. The next one must begin on a new line.
                self._torn = lines[count - 1 : count] != b"\n"
                lines = lines[count:]
        self._torn = False
        return True


_writers: Final[dict[object, BufferedWriter]] = {}


def buffered(descriptor: int) -> BufferedWriter:
    """This process's writer for the file behind ``descriptor``; descriptors of one file share a writer."""
    try:
        status = os.fstat(descriptor)
        target: object = (status.st_dev, status.st_ino)
    except OSError:
        target = descriptor
    if target not in _writers:
        _writers[target] = BufferedWriter(descriptor)
    return _writers[target]


def lost_lines() -> int:
    """The number of lines that this process has lost."""
    return sum(writer.lost for writer in _writers.values())


def flush_all() -> None:
    """Wait up to ``FLUSH_S`` in all for the last lines of all descriptors to be read."""
    deadline = time.monotonic() + FLUSH_S
    for writer in _writers.values():
        writer.flush(max(deadline - time.monotonic(), 0.0))


def _reset_all() -> None:
    for writer in _writers.values():
        writer.reset()


atexit.register(flush_all)
os.register_at_fork(after_in_child=_reset_all)
