"""The backend of SQLite: one file, and one service process that holds its lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

from store.backend import Backend, PaymentStore
from store.errors import StoreError
from store.keys import Keyring
from store.port import Offload, run_directly
from store.queries import Audit
from store.rebuild import Rebuilding
from store.relays import RelayDesk
from store.restored import Restoring
from store.schema_versions import MigrationResult
from store.sqlite.adapter import SqliteStore
from store.sqlite.audit import open_audit
from store.sqlite.backup import copy
from store.sqlite.keys import open_keyring
from store.sqlite.lock import StoreLock, lock_file
from store.sqlite.migrate import migrate
from store.sqlite.rebuild import open_rebuild
from store.sqlite.relays import open_desk
from store.sqlite.restored import open_restoring

_PREFIX = "sqlite:///"
_SUFFIXES = ("-wal", "-shm", "-journal")


class SqliteBackend(Backend):
    """``sqlite:///path``: a path below ``root``, with four slashes an absolute one."""

    url_form: ClassVar = "sqlite:///relative/file.db, sqlite:////absolute/file.db"
    exclusive: ClassVar = True
    load_threads: ClassVar = 0
    has_roles: ClassVar = False

    def __init__(self, url: str, root: Path) -> None:
        path = url.removeprefix(_PREFIX)
        if path == url or not path or "?" in path:
            raise StoreError(f"the database URL must look like {self.url_form}")
        self._path = root / unquote(path)
        self._lock: StoreLock | None = None

    @property
    def file(self) -> Path:
        """See ``Backend``."""
        return self._path

    def open(self, *, clock: Callable[[], datetime], offload: Offload = run_directly) -> PaymentStore:
        """See ``Backend``."""
        return SqliteStore(self._path, clock=clock, offload=offload, lock=self._lock)

    def migrate(self) -> MigrationResult:
        """See ``Backend``."""
        return MigrationResult(migrate(self._path))

    def lock(
        self, *, sleep: Callable[[float], None], on_wait: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[object]:
        """See ``Backend``; the lock is acquired by this call, not by the block."""
        return self._holding(StoreLock.acquire(self._path, sleep=sleep, on_wait=on_wait))

    @contextmanager
    def _holding(self, lock: StoreLock) -> Iterator[None]:
        with lock:
            self._lock = lock
            try:
                yield
            finally:
                self._lock = None

    def audit(self) -> AbstractContextManager[Audit]:
        """See ``Backend``."""
        return open_audit(self._path)

    def keyring(self, *, clock: Callable[[], datetime]) -> AbstractContextManager[Keyring]:
        """See ``Backend``."""
        return open_keyring(self._path, clock)

    def relay_desk(self, *, clock: Callable[[], datetime]) -> AbstractContextManager[RelayDesk]:
        """See ``Backend``."""
        return open_desk(self._path, clock)

    def rebuild(self) -> AbstractContextManager[Rebuilding]:
        """See ``Backend``."""
        return open_rebuild(self._path)

    def restore(self, *, now: datetime) -> AbstractContextManager[Restoring]:
        """See ``Backend``."""
        return open_restoring(self._path, now)

    def backup_files(self) -> Sequence[Path]:
        """See ``Backend``."""
        base = self._path.resolve()
        return [base, *(base.with_name(f"{base.name}{suffix}") for suffix in _SUFFIXES), lock_file(base)]

    def back_up(self, target: Path) -> None:
        """See ``Backend``."""
        copy(self._path, target)

    def audit_copy(self, copy: Path) -> AbstractContextManager[Audit]:
        """See ``Backend``."""
        return open_audit(copy)
