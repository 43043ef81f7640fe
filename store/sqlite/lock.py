"""The exclusive lock on a database: one service process at a time. It is independent of SQLite's own locks.

It consists of two kernel locks, which end with the process. One is on a file beside the database, which names the
holder. The other is on the database itself, so that hard links, bind mounts and a removed lock file lead to the same
lock. The lock file is never removed, because otherwise two processes could lock two files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from store.errors import StoreInUseError, StoreUnavailableError
from store.sqlite.files import (
    FileId,
    file_id,
    is_far_byte_free,
    lock_far_byte,
    require_one_name,
    try_lock_file,
    unlock_file,
)

_POLL_S: Final = 0.1


class Locked(NamedTuple):
    """The locked files, and the path of the one beside the database."""

    database: FileId
    path: Path
    file: FileId


class StoreLock:
    """Held from ``acquire`` until ``release`` or the end of the process.

    Connections to the database are opened after it was acquired, and closed before it is released.
    """

    def __init__(self, descriptor: int, locked: Locked) -> None:
        self._descriptor: int | None = descriptor
        self.locked: Final = locked

    @classmethod
    def acquire(
        cls,
        database: Path,
        *,
        sleep: Callable[[float], None],
        on_wait: Callable[[], None] = lambda: None,
    ) -> Self:
        """Wait until no other process holds the lock of ``database``; ``on_wait`` is called once if one does.

        A missing database is created empty. It polls with ``sleep``, because a blocking lock would stop all
        greenlets. Raises StoreUnavailableError when the database has several names, is gone though it was there
        before, or when one of the files cannot be made.
        """
        waited = False
        while True:
            lock = cls._try_acquire(database)
            if lock is not None:
                return lock
            if not waited:
                waited = True
                on_wait()
            sleep(_POLL_S)

    @classmethod
    def _try_acquire(cls, database: Path) -> Self | None:
        path = lock_file(database)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailableError(f"the lock file {path} cannot be opened: {error.strerror}") from error
        kept = False
        try:
            if not (_try_lock(descriptor) and lock_far_byte(descriptor)) or file_id(descriptor) != _id_at(path):
                return None
            identity = _try_lock_database(database)
            if identity is None:
                return None
            kept = True
            _write_holder(descriptor)
            return cls(descriptor, Locked(identity, path, file_id(descriptor)))
        except OSError as error:
            raise StoreUnavailableError(f"the lock file {path} cannot be locked: {error.strerror}") from error
        finally:
            if not kept:
                os.close(descriptor)

    def release(self) -> None:
        """Release the lock; repeating the call does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            unlock_file(self.locked.database)
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def holder(database: Path) -> str:
    """Return the last holder of the lock of ``database`` for messages: ``process 123``, or ``another process``."""
    try:
        return f"process {int(lock_file(database).read_text())}"
    except (OSError, ValueError):
        return "another process"


@contextmanager
def alone(database: Path) -> Iterator[StoreLock]:
    """Hold the lock of ``database`` during the block. Raises StoreInUseError at once when a service has it."""

    def refuse() -> None:
        raise StoreInUseError(f"{holder(database)} works on {database.name}: end it first")

    def never(_seconds: float) -> None:
        raise AssertionError("a lock that another process holds is refused, not awaited")

    require_one_name(database)  # the lock would create the file
    with StoreLock.acquire(database, sleep=never, on_wait=refuse) as lock:
        yield lock


def lock_file(database: Path) -> Path:
    """The lock file of ``database``. Links are followed, so that all of them lead to one file."""
    return database.resolve().with_name(database.resolve().name + ".lock")


def is_lock_file_locked(database: Path) -> bool:
    """Whether a process holds the lock file of ``database``; True also when that cannot be determined."""
    try:
        descriptor = os.open(lock_file(database), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not is_far_byte_free(descriptor)
    finally:
        os.close(descriptor)


def refuse_to_begin_empty(database: Path) -> None:
    """Raise StoreUnavailableError when the database is missing but traces of it exist.

    A service that started with an empty database would lose what it has acknowledged.
    """
    if database.exists():
        return
    base = database.resolve()
    for trace in (base.with_name(base.name + "-wal"), lock_file(database)):
        with suppress(OSError):
            if trace.stat().st_size > 0:
                raise StoreUnavailableError(
                    f"{database} is gone, and {trace.name} beside it shows that it was there: put it back, or remove"
                    f" {trace.name} to begin with an empty database"
                )


def _try_lock_database(database: Path) -> FileId | None:
    """None when another process has it, or it was replaced meanwhile."""
    refuse_to_begin_empty(database)
    if database.exists():
        require_one_name(database)  # before the wait, so that the operator sees the error
    try:
        identity = try_lock_file(database)
    except OSError as error:
        raise StoreUnavailableError(f"{database} cannot be locked: {error.strerror}") from error
    if identity is None:
        return None
    try:
        found = require_one_name(database)
    except StoreUnavailableError:
        unlock_file(identity)
        raise
    if found != identity:
        unlock_file(identity)
        return None
    return identity


def _write_holder(descriptor: int) -> None:
    """Write the process id for operators. The content also shows that there was a database once."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _id_at(path: Path) -> FileId | None:
    try:
        return file_id(path)
    except FileNotFoundError:
        return None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
