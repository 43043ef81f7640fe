"""The backend of PostgreSQL: a server's database, for any number of service processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from store.backend import Backend, PaymentStore
from store.errors import NotSupportedError
from store.keys import Keyring
from store.port import Offload, run_directly
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.audit import open_audit
from store.postgresql.keys import open_keyring
from store.postgresql.migrate import check_schema, migrate
from store.postgresql.rebuild import open_rebuild
from store.postgresql.relays import open_desk
from store.postgresql.restored import open_restoring
from store.postgresql.sessions import audit_settings
from store.queries import Audit
from store.rebuild import Rebuilding
from store.relays import RelayDesk
from store.restored import Restoring
from store.schema_versions import MigrationResult


class PostgresqlBackend(Backend):
    """``postgresql://user@host/database``, with any parameter that libpq accepts. The server's clock rules."""

    url_form: ClassVar = "postgresql://user@host/database"
    exclusive: ClassVar = False
    load_threads: ClassVar = 8
    has_roles: ClassVar = True

    def __init__(self, url: str, root: Path) -> None:  # noqa: ARG002  # no path in it is relative
        self._url = url

    def open(self, *, clock: Callable[[], datetime], offload: Offload = run_directly) -> PaymentStore:  # noqa: ARG002
        """See ``Backend``."""
        return PostgresqlStore(self._url)

    def migrate(self) -> MigrationResult:
        """See ``Backend``."""
        return migrate(self._url)

    def audit(self) -> AbstractContextManager[Audit]:
        """See ``Backend``."""
        check_schema(self._url)
        return open_audit(audit_settings(self._url))

    def keyring(self, *, clock: Callable[[], datetime]) -> AbstractContextManager[Keyring]:  # noqa: ARG002
        """See ``Backend``."""
        check_schema(self._url)
        return open_keyring(self._url)

    def relay_desk(self, *, clock: Callable[[], datetime]) -> AbstractContextManager[RelayDesk]:  # noqa: ARG002
        """See ``Backend``."""
        check_schema(self._url)
        return open_desk(self._url)

    def rebuild(self) -> AbstractContextManager[Rebuilding]:
        """See ``Backend``."""
        check_schema(self._url)
        return open_rebuild(self._url)

    def restore(self, *, now: datetime) -> AbstractContextManager[Restoring]:  # noqa: ARG002
        """See ``Backend``."""
        check_schema(self._url)
        return open_restoring(self._url)

    def backup_files(self) -> Sequence[Path]:
        """Raise NotSupportedError: the server's own tools make backups."""
        raise NotSupportedError(
            "the database is a PostgreSQL server's: back it up with pg_basebackup or pg_dump (docs/backup.md)"
        )
