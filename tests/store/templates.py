"""Empty, migrated SQLite databases: migrated once in each process of the test run, and then copied."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from store.sqlite.migrate import migrate


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory(prefix="payments-template-") as folder:
        path = Path(folder, "payments.db")
        migrate(path)
        return path.read_bytes()


def new_sqlite(path: Path) -> None:
    """Create an empty, migrated database at ``path``, where no file exists."""
    with path.open("xb") as file:
        file.write(_template())
