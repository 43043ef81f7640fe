"""Files by device and inode: the file at a path, and a lock on a file instead of a name. It uses no tables.

SQLite locks the database with POSIX locks. The kernel drops all of a process's POSIX locks on a file as soon as the
process closes any descriptor of it. Descriptors of databases are therefore opened here only, and closed only while no
connection of this process is on the file.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from store.errors import StoreUnavailableError

_FAR_BYTE: Final = 1 << 62
"""An offset beyond every file and beyond the bytes that SQLite locks."""
_FLOCK: Final = "hhqqi4x"
# Outside Linux, as on a developer's machine, only the lock file is locked.
_SET: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
_GET: Final[int | None] = getattr(fcntl, "F_OFD_GETLK", None)


class FileId(NamedTuple):
    """The identity of a file, independent of its names."""

    device: int
    inode: int


def file_id(path: Path | str | int) -> FileId:
    """The file that ``path`` names, or that is open as this descriptor. Raises OSError."""
    found = os.stat(path)  # noqa: PTH116  # before each commit: a Path costs more than the call
    return FileId(found.st_dev, found.st_ino)


def require_one_name(path: Path) -> FileId:
    """The file at ``path``. Raises StoreUnavailableError when there is none, or when it has several names.

    SQLite keeps the log beside the name by which a file was opened, so two names mean two logs.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise StoreUnavailableError(f"there is no database {path.name}: migrate first") from None
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be opened: {error.strerror}") from error
    if found.st_nlink > 1:
        raise StoreUnavailableError(
            f"{path} has {found.st_nlink} names (hard links), and the log of SQLite lies beside one of them only:"
            " remove the other names"
        )
    return FileId(found.st_dev, found.st_ino)


def has_moved(connection: apsw.Connection) -> bool:
    """Whether the path of ``connection`` now names another file, or none."""
    answer = ctypes.c_int(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(answer))
    return answer.value != 0


_descriptors: Final[dict[FileId, int]] = {}
_held: Final[set[FileId]] = set()


def try_lock_file(path: Path) -> FileId | None:
    """Lock the file at ``path``, created empty if missing; None when another process has it. Raises OSError.

    The lock is the kernel's: it ends with the process, and all names of the file lead to it.
    """
    identity, descriptor = _descriptor(path, make=True)
    if identity in _held or not lock_far_byte(descriptor):
        _release(identity)
        return None
    _held.add(identity)
    return identity


def unlock_file(identity: FileId) -> None:
    """Release a lock of ``try_lock_file``."""
    _held.discard(identity)
    if _SET is not None:
        fcntl.fcntl(_descriptors[identity], _SET, _far_byte(fcntl.F_UNLCK))
    _release(identity)


def is_locked_elsewhere(path: Path) -> bool:
    """Whether another process has locked the file at ``path``, by whatever name. Raises OSError."""
    identity, descriptor = _descriptor(path, make=False)
    try:
        return identity not in _held and not is_far_byte_free(descriptor)
    finally:
        _release(identity)


def close_unused() -> None:
    """Close what ``is_locked_elsewhere`` had to leave open while a connection of this process was on the file."""
    for identity in list(_descriptors):
        _release(identity)


def lock_far_byte(descriptor: int) -> bool:
    """Lock an open file for as long as it is open; False when it is locked. Raises OSError.

    The lock belongs to the open file description, so the end of another descriptor does not drop it.
    """
    if _SET is None:
        return True
    try:
        fcntl.fcntl(descriptor, _SET, _far_byte(fcntl.F_WRLCK))
    except BlockingIOError:
        return False
    return True


def is_far_byte_free(descriptor: int) -> bool:
    """Whether no other description of the open file holds the lock. Raises OSError."""
    if _GET is None:
        return True
    answer = fcntl.fcntl(descriptor, _GET, _far_byte(fcntl.F_WRLCK))
    return bool(struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK)


def _far_byte(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, _FAR_BYTE, 1, 0)


def _descriptor(path: Path, *, make: bool) -> tuple[FileId, int]:
    """This process's descriptor of the file, opened if there is none yet. The caller releases it."""
    try:
        identity = file_id(path)
    except FileNotFoundError:
        if not make:
            raise
    else:
        if identity in _descriptors:
            return identity, _descriptors[identity]
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o644)
    except OSError:
        if make:
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # sufficient for a check
    identity = file_id(descriptor)
    # If the path now names a known file, the new descriptor stays open, because closing it could drop locks.
    return identity, _descriptors.setdefault(identity, descriptor)


def _release(identity: FileId) -> None:
    if identity not in _held and not _is_connected(identity):
        os.close(_descriptors.pop(identity))


def _is_connected(identity: FileId) -> bool:
    """Whether a connection of this process may be on the file."""
    for connection in apsw.connections():
        try:
            if connection.filename and (has_moved(connection) or file_id(connection.filename) == identity):
                return True
        except apsw.ConnectionClosedError:
            continue
        except (apsw.Error, OSError):
            return True
    return False
