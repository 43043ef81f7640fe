"""A folder in memory for files that the processes of one start share.

Each process holds a lock on it, which it inherits by its fork and loses only by its end. The next start removes
folders without a lock, whose processes were all killed.
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
    """Create an empty private folder in ``parent``, which exists at least as long as this process and its children."""
    for left in parent.glob(f"{prefix}*"):
        _remove_if_left(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Not closed, nor inherited by a program that is executed.
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH)
        if folder.is_dir():  # another start may have removed it before it was locked
            return folder


def hold(folder: Path) -> None:
    """Keep ``folder`` at least as long as this process, and create it again when it was removed.

    Raises OSError: it cannot be created, or belongs to another user.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails while another start removes it
    except OSError:
        os.close(descriptor)
        raise


def _remove_if_left(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # of another user, or removed meanwhile
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
