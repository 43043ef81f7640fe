"""The exclusive lock on a file beside the database: one service process at a time. Knows nothing of SQLite.

The lock is the kernel's (``flock``): it ends with the process however that ends, and the file stays behind, since
removing it would let two processes lock two files of one name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from store.errors import StoreInUseError, StoreUnavailableError

_POLL_S: Final = 0.1


class StoreLock:
    """Held from ``acquire`` until ``release`` or the process's death."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(
        cls,
        database: Path,
        *,
        sleep: Callable[[float], None],
        on_wait: Callable[[], None] = lambda: None,
        poll_s: float = _POLL_S,
    ) -> Self:
        """Wait until no other process holds the lock of ``database``; ``on_wait`` is called once if one does.

        It polls with ``sleep``, because a blocking ``flock`` would stop all greenlets. Raises
        StoreUnavailableError when the file beside the database cannot be made.
        """
        path = _lock_file(database)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailableError(f"the lock file {path.name} cannot be opened: {error.strerror}") from error
        waited = False
        try:
            while not _try_lock(descriptor):
                if not waited:
                    waited = True
                    on_wait()
                sleep(poll_s)
            with suppress(OSError):  # for people who wonder who holds it: no decision rests on it
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailableError(f"the lock file {path.name} cannot be locked: {error.strerror}") from error
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Let the next process have it; releasing twice does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def holder(database: Path) -> str:
    """Who held the lock of ``database`` last, for people: ``process 123``, or ``another process``."""
    try:
        return f"process {int(_lock_file(database).read_text())}"
    except (OSError, ValueError):
        return "another process"


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Hold the lock of ``database`` for the block. Raises StoreInUseError at once when a service has it."""

    def refuse() -> None:
        raise StoreInUseError(f"{holder(database)} works on {database.name}: end it first")

    def never(_seconds: float) -> None:
        raise AssertionError("a lock that is taken is refused, not waited for")

    with StoreLock.acquire(database, sleep=never, on_wait=refuse):
        yield


def _lock_file(database: Path) -> Path:
    # Resolved, so that one database reached by two names has one lock.
    return database.resolve().with_name(database.resolve().name + ".lock")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
