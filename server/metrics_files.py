"""Room for the files in which a worker keeps its metrics, taken before it starts to use them.

prometheus_client maps sparse files into memory. Where the file system is full, the first touch of a page of such a
file is a SIGBUS, which no program survives; that there is no room for a whole one is an OSError instead.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

_KIB: Final = 1024
_SIZES: Final = {
    "counter": (512 * _KIB, 24 * _KIB),
    "histogram": (512 * _KIB, 48 * _KIB),
    "gauge_livesum": (32 * _KIB, 4 * _KIB),
    "gauge_livemax": (16 * _KIB, _KIB),
}
"""By the names that prometheus_client gives them: bytes, and more for each gateway. It is more than all series take
that there can be (a test counts them): a file that grew would be sparse again."""


def reserve(folder: Path, pid: int, gateways: int) -> None:
    """Make the files of process ``pid`` in ``folder``, with room for the series of so many gateways.

    Raises OSError when there is no room for all of them; then there is none of them.
    """
    files = {folder / f"{name}_{pid}.db": some + each * gateways for name, (some, each) in _SIZES.items()}
    try:
        for file, size in files.items():
            if file.exists():  # of an earlier process with this id: what it has counted goes on
                continue
            draft = file.with_suffix(".draft")  # nobody who is scraped may meet half of a file
            draft.write_bytes(bytes(size))
            draft.replace(file)
    except OSError:
        for file in files:
            with suppress(OSError):
                file.unlink(missing_ok=True)
                file.with_suffix(".draft").unlink(missing_ok=True)
        raise
