"""Space for the metrics files of a worker, allocated before it uses them.

prometheus_client maps sparse files into memory. On a full file system the first write to a page of such a file is a
SIGBUS, which ends the process. Writing the whole file first raises OSError instead.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

_KIB: Final = 1024
_SIZES: Final = {
    "counter": (576 * _KIB, 32 * _KIB),
    "histogram": (576 * _KIB, 80 * _KIB),
    "gauge_livesum": (32 * _KIB, 4 * _KIB),
    "gauge_livemax": (16 * _KIB, _KIB),
}
"""Bytes by prometheus_client's names of the files, and additional bytes for each gateway. A test shows that all
possible series fit, because a file that grew would be sparse again."""


def reserve(folder: Path, pid: int, gateways: int) -> None:
    """Create the files of process ``pid`` in ``folder``, with space for the series of that many gateways.

    Raises OSError when there is no space for all of them; then none of them exists.
    """
    files = {folder / f"{name}_{pid}.db": some + each * gateways for name, (some, each) in _SIZES.items()}
    try:
        for file, size in files.items():
            if file.exists():  # of an earlier process with this id: its counts continue
                continue
            draft = file.with_suffix(".draft")  # a scrape must not read half of a file
            draft.write_bytes(bytes(size))
            draft.replace(file)
    except OSError:
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)
                file.with_suffix(".draft").unlink(missing_ok=True)
        raise
