"""The store of a service process: locked, migrated and opened one after the other, and closed in reverse order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Final, NoReturn, cast

from store.backend import Backend, PaymentStore
from store.errors import StoreUnavailableError
from store.port import Offload
from store.queries import Queries

logger: Final = logging.getLogger(__name__)

_QUERIES: Final = tuple(name for name in dir(Queries) if not name.startswith("_"))


class ServiceStore:
    """The store at ``backend``. ``queries`` raise StoreUnavailableError until ``open``."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime], offload: Offload) -> None:
        self._backend, self._clock, self._offload = backend, clock, offload
        self._held = ExitStack()
        self._store: PaymentStore | None = None
        self._pending = _PendingQueries()

    @property
    def queries(self) -> Queries:
        """What the API reads."""
        return cast("Queries", self._pending)

    @property
    def opened(self) -> PaymentStore:
        """The store, after ``open``."""
        assert self._store is not None
        return self._store

    def lock(self, sleep: Callable[[float], None], on_wait: Callable[[str], None]) -> None:
        """Wait until this process may use the store. ``on_wait`` is called with the reason when another one has it."""

        def wait() -> None:
            on_wait("Another process still uses the database.")
            logger.warning("another process still uses %s: waiting for its end", self._backend.file)

        self._held.enter_context(self._backend.lock(sleep=sleep, on_wait=wait))

    def migrate(self) -> None:
        """Bring the tables of an exclusive store to this version; those of a server are its owner's."""
        if self._backend.exclusive:
            self._backend.migrate()

    def open(self) -> None:
        """Open the store. Raises StoreError."""
        self._store = self._backend.open(clock=self._clock, offload=self._offload)
        self._pending.open(self._store)

    def close(self) -> None:
        """Close the store."""
        self.opened.close()

    def unlock(self) -> None:
        """Let another process use the store."""
        self._held.close()


class _PendingQueries:
    """The queries of a store that is not open yet. After ``open`` the store's own methods are called directly."""

    def __init__(self) -> None:
        vars(self).update(dict.fromkeys(_QUERIES, _not_open))

    def open(self, store: Queries) -> None:
        """Answer with ``store`` from now on."""
        vars(self).update({name: getattr(store, name) for name in _QUERIES})


def _not_open(*_: object, **__: object) -> NoReturn:
    raise StoreUnavailableError("the service is starting")
