"""A store as a service has it, and changes to its files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from store.port import Committed
from store.sqlite.adapter import SqliteStore
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate
from tests.store.builders import OWNER, Clock, Customer

COMMITTED = Committed()
FILES = ("", "-wal", "-shm", ".lock")


class StillHeldError(Exception):
    """Ends a wait that would not end otherwise."""


def give_up(_seconds: float) -> None:
    """Replace a sleep: every wait ends with StillHeldError."""
    raise StillHeldError


class Service:
    """A store as a service has it, under its lock, with one deposit in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.after_commit: Callable[[], None] = lambda: None
        self.lock = StoreLock.acquire(path, sleep=give_up)
        migrate(path)
        self.store = SqliteStore(path, clock=Clock(), lock=self.lock, offload=self._offload)
        self.store.register_owner(OWNER)
        assert self.store.append([Customer("first").deposit("t0")]) == [COMMITTED]

    def _offload(self, job: Callable[[], None]) -> None:
        job()
        self.after_commit()

    def file(self, suffix: str) -> Path:
        """One of the database's files."""
        return self.path.with_name(self.path.name + suffix)

    def stop(self) -> None:
        """Close the store as a service does when it stops."""
        self.store.close()
        self.lock.release()


def remove(file: Path) -> None:
    """Remove the file permanently."""
    file.unlink()


def move(file: Path) -> None:
    """Give the file another name."""
    file.rename(file.with_name(f"elsewhere{file.suffix}"))


def replace(file: Path) -> None:
    """Put a copy in its place, as a restored backup would be."""
    copy = file.with_name(f"copy{file.suffix}")
    shutil.copy(file, copy)
    copy.replace(file)
