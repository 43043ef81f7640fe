"""The SQL functions of the database: files that are applied after the migrations whenever their text has changed.

``functions/*.sql`` hold the definitions in force. The migrations up to 0012 contain earlier ones. They stay as they
are, since new databases run them in order. Types, constraints, triggers and views belong in migrations, with the
functions that they use (``is_readable``, ``refuse_change``).

Rules for changes. During a rolling restart processes of two versions call the same functions.

- A changed statement in any file raises ``REVISION``. A test compares the files with the digest of each revision.
- A change keeps the meaning of every call that the last release makes. A new member of a document is optional: without
  it the function does what it did before.
- A function with other arguments or another result gets a new name (``append_batch_2``). The old one stays until no
  process of a release that calls it can run. A later migration drops it.
- A migration calls only functions that earlier migrations define: on a new database the files come last.
- ``LANGUAGE sql`` functions are checked when they are created. A callee stands above its caller, or in a file whose
  name comes earlier.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from store.errors import SchemaError
from store.postgresql.flat_rows import TRANSACTION_COLUMNS
from store.postgresql.rows import DIALECT
from store.postgresql.sessions import Session

REVISION: Final = 3
"""The number of the present definitions. It only ever goes up."""

_FOLDER: Final = Path(__file__).with_name("functions")
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS schema_functions (
    revision   integer     NOT NULL,
    digest     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schema_functions_pk PRIMARY KEY (revision)
)
"""
_EXISTS: Final = "SELECT to_regclass('schema_functions') IS NOT NULL"
_NEWEST: Final = "SELECT revision, digest FROM schema_functions ORDER BY revision DESC LIMIT 1"
_RECORD: Final = """
INSERT INTO schema_functions (revision, digest)
VALUES (%s, %s)
ON CONFLICT (revision) DO UPDATE SET digest = excluded.digest, applied_at = excluded.applied_at
"""


class Functions(NamedTuple):
    """The definitions of a version of the service, or those recorded in a database."""

    revision: int
    digest: str
    """The digest of the definitions with all columns. It changes with a new column, unlike the revision."""


_NONE: Final = Functions(0, "")


def definitions() -> str:
    """The text of all files as they are written, in the order of their names."""
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(_FOLDER.glob("*.sql")))


def digest(text: str) -> str:
    """The SHA-256 of the definitions without lines of comments, which may change at any time."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return sha256("\n".join(lines).encode()).hexdigest()


def apply_functions(session: Session) -> bool:
    """Define the functions unless the database has exactly these. Returns whether that was necessary.

    Call it in the transaction of the migrations. Raises SchemaError when the database has those of a newer version.
    """
    session.execute(_CREATE)
    expanded, ours = _present()
    if _refuse_newer(session) == ours:
        return False
    session.execute(expanded)
    session.execute(_RECORD, ours)
    return True


def check_functions(session: Session) -> None:
    """Raise SchemaError unless the database has exactly the functions of this version."""
    _, ours = _present()
    there = session.execute(_EXISTS).fetchone() == (True,)
    found = _refuse_newer(session) if there else _NONE
    if found != ours:
        raise SchemaError(
            f"the database has revision {found.revision} of the functions, this service needs {ours.revision} with its"
            " own columns: migrate"
        )


def _present() -> tuple[str, Functions]:
    expanded = DIALECT.expand(definitions(), {"transaction_columns": TRANSACTION_COLUMNS})
    return expanded, Functions(REVISION, digest(expanded))


def _refuse_newer(session: Session) -> Functions:
    row = session.execute(_NEWEST).fetchone()
    found = _NONE if row is None else Functions(*row)
    if found.revision > REVISION:
        raise SchemaError(
            f"the database has revision {found.revision} of the functions, newer than this service's {REVISION}"
        )
    return found
