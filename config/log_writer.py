"""Write log lines without waiting for their reader: a bounded buffer, emptied by a thread of the operating system.

It knows descriptors and bytes, and no records or formats. Nothing here is gevent's, also where gevent has patched the
process: a thread that is a greenlet would block the worker, which is what this module prevents.
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import time
from _queue import Empty, SimpleQueue  # gevent replaces that of the module queue
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

BUFFER_BYTES_MAX: Final = 512 * 1024
"""What one process keeps for a reader that stands still: some 600 deposits."""
FLUSH_S: Final = 2.0
"""How long the end of a process waits for its last lines to be read."""
_FULL_S: Final = 0.02
"""Wait before a descriptor that another program has made non-blocking is tried again."""


def _native(module: str, name: str) -> Any:  # noqa: ANN401 - whatever the module has under that name
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


def write_all(descriptor: int, lines: bytes) -> None:
    """Write at once, and wait for the reader. What cannot be written is dropped: nothing fails for its log."""
    try:
        while lines:
            lines = lines[os.write(descriptor, lines) :]
    except OSError:
        return


@dataclass(slots=True)
class _Gap:
    """Lines that found no room, at this place of the buffer."""

    since: float = field(default_factory=time.time)
    lines: int = 0


@dataclass(slots=True)
class _Mark:
    """A place of the buffer. Its lock is released when all before it is written."""

    lock: Any


def _plain_notice(lines: int, _since: float) -> bytes:
    return b"%d log lines were lost\n" % lines


class BufferedWriter:
    """Takes whole lines from any thread, and from signal handlers, and writes them in their order.

    Lines that do not fit are dropped and counted. The loss is told in a line of its own as soon as one can be written.
    The thread starts with the first line of a process. A forked child begins with an empty buffer: what is in the
    parent's, the parent writes.
    """

    def __init__(self, descriptor: int, bytes_max: int = BUFFER_BYTES_MAX) -> None:
        self._descriptor, self._bytes_max = descriptor, bytes_max
        self.notice: Callable[[int, float], bytes] = _plain_notice
        """Makes the line that tells how many lines were lost, and since when (seconds since 1970)."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, as a forked child must: it has neither the thread nor a claim to the lines."""
        self.lock = _native("_thread", "RLock")()
        """Reentrant, since a signal handler may log in the midst of ``write``. Never held while anything blocks."""
        self.lost = 0
        """Lines that were dropped, or could not be written, in this process."""
        self._entries: SimpleQueue[bytes | _Gap | _Mark] = SimpleQueue()
        self._bytes = 0
        self._gap: _Gap | None = None
        self._running = False
        self._untold, self._untold_since = 0, 0.0
        self._torn = False

    def write(self, lines: bytes) -> None:
        """Take whole lines. Never waits."""
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
        """Wait until what was taken is written, and tell whether it is. Blocks the whole thread, gevent's as well."""
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
            # Of a pipe, only what it takes at once is safe from the lines of other processes.
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
        told = self._tell()
        written = told and self._written(piece)
        with self.lock:
            self._bytes -= len(piece)
            if not written:
                self.lost += piece.count(b"\n")
        if not written:
            self._add_untold(piece.count(b"\n"), time.time())

    def _close_gap(self, gap: _Gap) -> None:
        with self.lock:
            if self._gap is gap:
                self._gap = None
        self._add_untold(gap.lines, gap.since)
        self._tell()

    def _add_untold(self, lines: int, since: float) -> None:
        if not self._untold:
            self._untold_since = since
        self._untold += lines

    def _tell(self) -> bool:
        """Tell of lost lines, if there are any. False: nothing can be written now."""
        if not self._untold:
            return True
        try:
            notice = self.notice(self._untold, self._untold_since)
        except Exception:  # noqa: BLE001 - the thread must not die of a format
            notice = _plain_notice(self._untold, self._untold_since)
        if not self._written(notice):
            return False
        self._untold = 0
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
                # A line may break off where a disk is full. The next one must not be glued to it.
                self._torn = lines[count - 1 : count] != b"\n"
                lines = lines[count:]
        self._torn = False
        return True


_writers: Final[dict[object, BufferedWriter]] = {}


def buffered(descriptor: int) -> BufferedWriter:
    """The writer of this process for what ``descriptor`` leads to: one, also where several descriptors lead there."""
    try:
        status = os.fstat(descriptor)
        target: object = (status.st_dev, status.st_ino)
    except OSError:
        target = descriptor
    if target not in _writers:
        _writers[target] = BufferedWriter(descriptor)
    return _writers[target]


def lost_lines() -> int:
    """How many lines this process has lost."""
    return sum(writer.lost for writer in _writers.values())


def flush_all() -> None:
    """Give the last lines ``FLUSH_S`` to be read, all descriptors together."""
    deadline = time.monotonic() + FLUSH_S
    for writer in _writers.values():
        writer.flush(max(deadline - time.monotonic(), 0.0))


def _begin_all_anew() -> None:
    for writer in _writers.values():
        writer.begin_anew()


atexit.register(flush_all)
os.register_at_fork(after_in_child=_begin_all_anew)
