"""The table of store backends by the scheme of their URLs. The only file that names every adapter.

``sqlite:///var/payments.db`` is a file below ``root``, ``sqlite:////var/lib/payments.db`` an absolute one;
``postgresql://user@host/database`` is a server's database, with any parameter that libpq accepts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from store.backend import Backend
from store.errors import StoreError
from store.postgresql.backend import PostgresqlBackend
from store.sqlite.backend import SqliteBackend

BACKENDS: Final[dict[str, type[Backend]]] = {
    "sqlite": SqliteBackend,
    "postgresql": PostgresqlBackend,
    "postgres": PostgresqlBackend,
}


def backend_of(url: str, *, root: Path) -> Backend:
    """Return the backend of the database at ``url``. Raises StoreError for a URL of no backend."""
    scheme, separator, _ = url.partition("://")
    backend = BACKENDS.get(scheme) if separator else None
    if backend is None:
        raise StoreError(f"the database URL must look like {_forms()}")
    return backend(url, root)


def _forms() -> str:
    *forms, last = dict.fromkeys(backend.url_form for backend in BACKENDS.values())
    return f"{', '.join(forms)} or {last}" if forms else last
