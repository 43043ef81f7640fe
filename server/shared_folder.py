"""A folder in memory for the files that the processes of one start share. It knows nothing of what they are.

Whoever starts next removes what was left behind by processes that were all killed: each of them holds a lock, which it
inherits by its fork and loses only by its end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


def new_folder(prefix: str, parent: Path) -> Path:
    """A new, empty and private folder in ``parent``, which exists at least as long as this process and its children."""
    for left in parent.glob(f"{prefix}*"):
        _remove_if_left(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Not closed, nor inherited by a program that is executed.
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH)
        if folder.is_dir():  # and somebody else who starts at this moment has not held it for left behind
            return folder


def hold(folder: Path) -> None:
    """Have ``folder`` exist at least as long as this process, too: anew, when somebody has tidied it away.

    Raises OSError: it cannot be made, or is somebody else's.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is somebody else's", str(folder))
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails when it is just being removed as left behind
    except OSError:
        os.close(descriptor)
        raise


def _remove_if_left(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # somebody else's, or gone by now
        return
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:  # in use
        pass
    finally:
        os.close(descriptor)
