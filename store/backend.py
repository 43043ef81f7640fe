"""A store backend: everything that the service and the commands do with the database at one URL.

``store.backends`` has the table of all backends. ``docs/adding-a-store.md`` shows how to add one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

from store.errors import NotSupportedError
from store.keys import Keyring
from store.port import Offload, RelayStore, Store, run_directly
from store.queries import Audit, Auditable, Queries
from store.rebuild import Rebuilding
from store.relays import RelayDesk
from store.restored import Restoring
from store.schema_versions import MigrationResult


class PaymentStore(Store, Queries, RelayStore, Auditable, Protocol):
    """All roles of an open store: those of the actors and of the relays, the reads of the API, and the audit."""


class Backend(ABC):
    """One kind of store, bound to one URL. Nothing is opened before a method is called.

    Every method raises StoreError; those that open an existing database raise SchemaError unless its tables are of this
    version.
    """

    url_form: ClassVar[str]
    """The form of its URLs, for error messages."""
    exclusive: ClassVar[bool]
    """One service process at a time, which holds ``lock`` and migrates the database itself at its start."""
    load_threads: ClassVar[int]
    """Queries that may load customers at once; 0: loads are so short that they run in the caller's thread."""
    has_roles: ClassVar[bool]
    """Whether a role with fewer rights than the owner of the tables can serve."""

    @abstractmethod
    def __init__(self, url: str, root: Path) -> None:
        """``root`` is the folder of relative paths. Raises StoreError for a URL that is not one of this kind."""

    @property
    def file(self) -> Path | None:
        """The file of an embedded store; None for a server's database."""
        return None

    @abstractmethod
    def open(self, *, clock: Callable[[], datetime], offload: Offload = run_directly) -> PaymentStore:
        """Open the store; as the service when ``lock`` is held.

        A server has a clock of its own, which all its clients share, and needs no ``offload``.
        """

    @abstractmethod
    def migrate(self) -> MigrationResult:
        """Create the tables and functions, or bring them to this version; returns what was missing or different.

        Safe to run twice, and at the same time in several processes. Raises SchemaError when the tables are newer. An
        exclusive store raises StoreInUseError when something is missing and a service in another process works on it.
        """

    def lock(
        self,
        *,
        sleep: Callable[[float], None],  # noqa: ARG002  # only an exclusive store waits
        on_wait: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> AbstractContextManager[object]:
        """Wait until this process may use the store, and hold it until the end of the returned block.

        ``on_wait`` is called once when another process has it. A store for several processes has no such lock.
        """
        return nullcontext()

    @abstractmethod
    def audit(self) -> AbstractContextManager[Audit]:
        """One consistent, read-only view of the store; a service may run."""

    @abstractmethod
    def keyring(self, *, clock: Callable[[], datetime]) -> AbstractContextManager[Keyring]:
        """The API keys, for their administration; a service may run. A server requires the owner of the tables."""

    @abstractmethod
    def relay_desk(self, *, clock: Callable[[], datetime]) -> AbstractContextManager[RelayDesk]:
        """The relays, for their administration; a service may run. A server requires the owner of the tables."""

    @abstractmethod
    def rebuild(self) -> AbstractContextManager[Rebuilding]:
        """The store for ``store.rebuild``, as the owner of the tables; no service can start during the block.

        Raises StoreInUseError when a service works on it.
        """

    @abstractmethod
    def restore(self, *, now: datetime) -> AbstractContextManager[Restoring]:
        """The store, to be marked as restored, as the owner of the tables; no service can start during the block.

        Raises StoreInUseError when a service works on it.
        """

    def backup_files(self) -> Sequence[Path]:
        """The files that a backup reads and must not replace, the database's own first.

        Raises NotSupportedError when the store has no backup of its own.
        """
        raise NotSupportedError("the store has no backup command")

    def back_up(self, target: Path) -> None:
        """Copy the store to ``target``, which must not exist; a service may run. The copy is on disk at the return.

        Raises NotSupportedError when the store has no backup of its own.
        """
        raise NotSupportedError(f"{target}: the store has no backup command")

    def audit_copy(self, copy: Path) -> AbstractContextManager[Audit]:
        """The view of ``audit``, of a copy that ``back_up`` made."""
        raise NotSupportedError(f"{copy}: the store has no backup command")
