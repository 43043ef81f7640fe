"""Opens the store that a database URL names. The only file that knows every adapter.

``sqlite:///var/payments.db`` is a file below ``root``, ``sqlite:////var/lib/payments.db`` an absolute one;
``postgresql://user@host/database`` is a server's database, with any parameter that libpq knows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote

from store.errors import StoreError
from store.keys import Keyring
from store.port import Offload, Store, run_directly
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.audit import open_audit as open_postgresql_audit
from store.postgresql.keys import open_keyring as open_postgresql_keyring
from store.postgresql.migrate import check_schema as check_postgresql
from store.postgresql.migrate import migrate as migrate_postgresql
from store.postgresql.rebuild import open_rebuild as open_postgresql_rebuild
from store.postgresql.restored import open_restoring as open_postgresql_restoring
from store.postgresql.sessions import audit_settings
from store.queries import Audit, Auditable, Queries
from store.rebuild import Rebuilding
from store.restored import Restoring
from store.sqlite.adapter import SqliteStore
from store.sqlite.audit import open_audit as open_sqlite_audit
from store.sqlite.backup import copy as copy_sqlite
from store.sqlite.keys import open_keyring as open_sqlite_keyring
from store.sqlite.lock import StoreLock
from store.sqlite.migrate import migrate as migrate_sqlite
from store.sqlite.rebuild import open_rebuild as open_sqlite_rebuild
from store.sqlite.restored import open_restoring as open_sqlite_restoring

_POSTGRESQL: Final = ("postgresql://", "postgres://")


class PaymentStore(Store, Queries, Auditable, Protocol):
    """Everything that the service asks of its store."""


def open_store(
    url: str,
    *,
    root: Path,
    clock: Callable[[], datetime],
    offload: Offload = run_directly,
    lock: StoreLock | None = None,
) -> PaymentStore:
    """The store at ``url``, whose schema must be of this version; ``lock`` is what ``lock_store`` gave a service.

    A server has a clock of its own, which all its clients share, and is waited for where ``offload`` is not needed.
    Raises SchemaError, StoreUnavailableError, or StoreError for a URL of no known kind.
    """
    if url.startswith(_POSTGRESQL):
        return PostgresqlStore(url)
    return SqliteStore(sqlite_path(url, root), clock=clock, offload=offload, lock=lock)


def migrate(url: str, *, root: Path) -> list[int]:
    """Bring the tables at ``url`` to this version, making what is missing; the numbers of the migrations applied.

    Safe to run twice and at the same time in several processes. Raises SchemaError when the tables are newer.
    """
    if url.startswith(_POSTGRESQL):
        return migrate_postgresql(url)
    return migrate_sqlite(sqlite_path(url, root))


def lock_store(
    url: str, *, root: Path, sleep: Callable[[float], None], on_wait: Callable[[], None] = lambda: None
) -> AbstractContextManager[StoreLock | None]:
    """Wait until this process may use the store at ``url`` and hold it for as long as the returned block lasts.

    ``on_wait`` is called once when another process has it. A store for several processes knows no such lock.
    """
    if url.startswith(_POSTGRESQL):
        return nullcontext()
    return StoreLock.acquire(sqlite_path(url, root), sleep=sleep, on_wait=on_wait)


def open_audit(url: str, *, root: Path) -> AbstractContextManager[Audit]:
    """One consistent, read-only view of the store at ``url``, beside a service that may be running."""
    if url.startswith(_POSTGRESQL):
        check_postgresql(url)
        return open_postgresql_audit(audit_settings(url))
    return open_sqlite_audit(sqlite_path(url, root))


def open_keyring(url: str, *, root: Path, clock: Callable[[], datetime]) -> AbstractContextManager[Keyring]:
    """The API keys of the store at ``url``, to be administered beside a service that may be running.

    On a server as a role that may write them: the owner of the tables.
    """
    if url.startswith(_POSTGRESQL):
        check_postgresql(url)
        return open_postgresql_keyring(url)
    return open_sqlite_keyring(sqlite_path(url, root), clock)


def open_rebuild(url: str, *, root: Path) -> AbstractContextManager[Rebuilding]:
    """The store at ``url`` for ``store.rebuild``, as the role that owns the tables.

    Raises StoreInUseError when a service works on it. No service can start before the end of the block.
    """
    if url.startswith(_POSTGRESQL):
        check_postgresql(url)
        return open_postgresql_rebuild(url)
    return open_sqlite_rebuild(sqlite_path(url, root))


def open_file_audit(path: Path) -> AbstractContextManager[Audit]:
    """The same view of a file of the embedded store, such as a backup."""
    return open_sqlite_audit(path)


def back_up(url: str, target: Path, *, root: Path) -> None:
    """Copy the embedded store at ``url`` to ``target``, which must not exist. The copy is on disk when this returns.

    Raises StoreError, also for a server's database.
    """
    copy_sqlite(sqlite_path(url, root), target)


def open_restoring(url: str, *, root: Path, now: datetime) -> AbstractContextManager[Restoring]:
    """The store at ``url``, to be marked as restored, opened as the role that owns the tables.

    Raises StoreInUseError when a service works on it. No service can start before the end of the block.
    """
    if url.startswith(_POSTGRESQL):
        check_postgresql(url)
        return open_postgresql_restoring(url)
    return open_sqlite_restoring(sqlite_path(url, root), now)


def sqlite_path(url: str, root: Path) -> Path:
    """The file that ``url`` names. Raises StoreError for any other kind of URL."""
    scheme, separator, rest = url.partition("://")
    if scheme != "sqlite" or not separator or not rest.startswith("/") or len(rest) < 2 or "?" in rest:
        raise StoreError(
            "the database URL must look like sqlite:///relative/file.db, sqlite:////absolute/file.db or"
            " postgresql://user@host/database"
        )
    return root / unquote(rest[1:])
