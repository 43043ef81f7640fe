"""The table of store backends by the scheme of their URLs. The only file that names every adapter.

``sqlite:///var/payments.db`` is a file below ``root``, ``sqlite:////var/lib/payments.db`` an absolute one;
``postgresql://user@host/database`` is a server's database, with any parameter that libpq accepts.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Final

from store.backend import Backend
from store.errors import StoreError

BACKENDS: Final[dict[str, str]] = {
    "sqlite": "store.sqlite.backend:SqliteBackend",
    "postgresql": "store.postgresql.backend:PostgresqlBackend",
    "postgres": "store.postgresql.backend:PostgresqlBackend",
}
"""Module and class of each backend. The module is imported when a URL has its scheme, and its driver only then."""


def backend_of(url: str, *, root: Path) -> Backend:
    """Return the backend of the database at ``url``. Raises StoreError for a URL of no backend."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in BACKENDS:
        raise StoreError(f"the database URL must look like {_forms()}")
    return _load(BACKENDS[scheme])(url, root)


def _load(name: str) -> type[Backend]:
    backend: object = resolve_name(name)
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise TypeError(f"{name} is not a Backend")
    return backend


def _forms() -> str:
    *forms, last = dict.fromkeys(_load(name).url_form for name in BACKENDS.values())
    return f"{', '.join(forms)} or {last}" if forms else last
