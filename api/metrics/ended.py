"""The counts of ended processes, added up in one file of counters and one of histograms.

Otherwise each process would leave two files for as long as the service runs. A lock separates adding up from scrapes.
A frozen process cannot block either of them for long.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

logger: Final = logging.getLogger(__name__)

WAIT_S: Final = 1.0
"""The longest wait of a scrape for the lock. Adding up takes some milliseconds."""
_TURN_S: Final = 0.005
_KINDS: Final = ("counter", "histogram")
_ENTRY_MAX: Final = 4 + 8 + 16
"""Bytes of an entry in addition to its key: a length, padding, and two doubles."""


def add_up(folder: Path, dead: set[int]) -> None:
    """Add the counts of the ``dead`` processes to those of earlier ones, and delete their gauges.

    Removes the finished processes from ``dead``; it removes none while a scrape holds the lock. Never blocks.
    Raises OSError.
    """
    for pid in dead:
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
    descriptor = _open_lock(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for kind in _KINDS:
            left = [file for pid in dead if (file := folder / f"{kind}_{pid}.db").exists()]
            if left:
                _add_up(folder / f"{kind}_dead.db", left)
        dead.clear()
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


@contextmanager
def scrape_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``, so that nothing is added up. Raises OSError: no such folder, or no lock in time."""
    descriptor = _open_lock(folder)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_TURN_S)
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: Path) -> int:
    return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _add_up(whole: Path, left: list[Path]) -> None:
    sums: dict[str, float] = defaultdict(float)
    for file in (whole, *left):
        for key, value in _read(file).items():
            sums[key] += value
    draft = whole.with_suffix(".draft")
    # The file has its full size and is not sparse: see server.metrics_files.
    draft.write_bytes(bytes(8 + sum(len(key.encode()) + _ENTRY_MAX for key in sums)))
    values = MmapedDict(str(draft))  # type: ignore[no-untyped-call]
    for key, value in sums.items():
        values.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    values.close()  # type: ignore[no-untyped-call]
    draft.replace(whole)
    for file in left:
        file.unlink()


def _read(file: Path) -> dict[str, float]:
    """The values of ``file`` by key; none from an unreadable file, which would fail every scrape."""
    try:
        read = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
        return {key: value for key, value, *_ in read}
    except FileNotFoundError:
        return {}
    except (ValueError, RuntimeError, struct.error):
        logger.exception("the metrics of an ended process cannot be read and are ignored")
        return {}
