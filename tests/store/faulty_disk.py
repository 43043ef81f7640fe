"""A virtual file system for SQLite whose disk fails on request, and that computes what a power cut would leave."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import apsw

_numbers = itertools.count()


def healthy(operation: str, file: str) -> None:
    """Let every operation pass."""


class FaultyDisk(apsw.VFS):
    """Behaves like the disk below it unless ``fault`` raises an error.

    ``fault(operation, file)`` is called before each write and sync with ``"write"`` or ``"sync"`` and the file's
    suffix (``""``, ``"-wal"``). SQLite receives the error that it raises.
    """

    def __init__(self, database: Path) -> None:
        self.name = f"faulty-{next(_numbers)}"
        self.database = database
        self.fault: Callable[[str, str], None] = healthy
        self.synced: dict[str, bytes] = {}
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's
        """Open a file of this disk."""
        return _File(self, name, flags)

    def after_power_cut(self, path: Path) -> None:
        """Write to ``path`` the files that a power cut now would leave: the bytes of each file at its last sync."""
        for suffix, content in self.synced.items():
            path.with_name(path.name + suffix).write_bytes(content)

    def after_kill(self, path: Path) -> None:
        """Write to ``path`` the files that the process's death now would leave: everything that was written."""
        for suffix in ("", "-wal"):
            path.with_name(path.name + suffix).write_bytes(self.content(suffix))

    def content(self, suffix: str) -> bytes:
        """The bytes of one of the database's files as they are now."""
        file = self.database.with_name(self.database.name + suffix)
        return file.read_bytes() if file.exists() else b""


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        text = name.filename() if isinstance(name, apsw.URIFilename) else (name or "")
        self._suffix = text.removeprefix(str(disk.database))
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's
        """Write, unless the disk fails."""
        self._disk.fault("write", self._suffix)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's
        """Sync, unless the disk fails."""
        self._disk.fault("sync", self._suffix)
        super().xSync(flags)
        self._disk.synced[self._suffix] = self._disk.content(self._suffix)
