"""Brings a database's tables and functions to the version that this service needs, and checks them. Names no table.

Migrations are the files ``migrations/NNNN_title.sql``. The table ``schema_migrations`` holds the numbers applied. The
functions follow them (``store.postgresql.functions``). All of it is in the first schema of the search path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from psycopg import sql

from store.errors import SchemaError
from store.postgresql.failures import translation
from store.postgresql.functions import apply_functions, check_functions
from store.postgresql.sessions import Session, connection_settings
from store.schema_versions import MigrationResult, read_migrations, refuse_newer, refuse_older

SERVICE_ROLE: Final = "payments_service"
"""The role that gets the least rights that the service needs, if a role of this name exists."""

_HERE: Final = Path(__file__).parent
_WAIT_MS: Final = 60_000
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('payments: migrate ' || current_schema(), 0))"
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schema_migrations_pk PRIMARY KEY (number)
)
"""
_VERSION: Final = "SELECT coalesce(max(number), 0) FROM schema_migrations"
_ELSEWHERE: Final = """
SELECT n.nspname
FROM pg_settings AS s
JOIN pg_namespace AS n ON n.nspname = ANY (string_to_array(translate(s.reset_val, '" ', ''), ','))
JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'schema_migrations'
WHERE s.name = 'search_path' AND to_regclass('schema_migrations') IS NULL
LIMIT 1
"""


def migrations() -> dict[int, str]:
    """The scripts by their numbers, which are 1, 2, 3 and so on."""
    return read_migrations(_HERE / "migrations")


def migrate(url: str, scripts: dict[int, str] | None = None, *, service_role: str = SERVICE_ROLE) -> MigrationResult:
    """Apply the missing migrations, define changed functions, and give ``service_role`` its rights, in one transaction.

    Concurrent calls are safe: one migrates and the others wait. With ``scripts`` these are the migrations, and the
    functions are theirs alone. Raises SchemaError for a database of a newer version.
    """
    known, scripts = scripts is None, migrations() if scripts is None else scripts
    # No limit for a statement: an index over a large table takes long.
    settings = connection_settings(url, statement_ms=0, lock_ms=_WAIT_MS, idle_ms=_WAIT_MS)
    with translation(), Session.connect(**settings) as session:
        session.execute(_LOCK)
        _refuse_elsewhere(session)
        session.execute(_CREATE)
        version = _refuse_newer(session, scripts)
        missing = [number for number in scripts if number > version]
        for number in missing:
            session.execute(scripts[number])
            session.execute("INSERT INTO schema_migrations (number) VALUES (%s)", (number,))
        functions_defined = known and apply_functions(session)
        _give_rights(session, service_role)
    return MigrationResult(missing, functions_defined)


def check_schema(url: str) -> None:
    """Raise SchemaError unless the database has exactly the tables and functions of this version."""
    scripts = migrations()
    with translation(), Session.connect(**connection_settings(url)) as session:
        _refuse_elsewhere(session)
        row = session.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
        version = _refuse_newer(session, scripts) if row == (True,) else 0
        refuse_older(version, scripts)
        check_functions(session)


def _refuse_elsewhere(session: Session) -> None:
    """Raise SchemaError when the tables are in a schema that only a default of the database or the role names."""
    row = session.execute(_ELSEWHERE).fetchone()
    if row is not None:
        raise SchemaError(
            f"the tables are in the schema {row[0]}, which a default of the database or the role names: name it in the"
            f" URL (…?options=-csearch_path%3D{row[0]})"
        )


def _refuse_newer(session: Session, scripts: dict[int, str]) -> int:
    row = session.execute(_VERSION).fetchone()
    assert row is not None
    version = int(row[0])
    refuse_newer(version, scripts)
    return version


def _give_rights(session: Session, role: str) -> None:
    row = session.execute(
        "SELECT current_schema() FROM pg_roles WHERE rolname = %s AND rolname <> current_user", (role,)
    ).fetchone()
    if row is None or session.execute("SELECT to_regclass('events')").fetchone() == (None,):
        return
    rights = sql.SQL((_HERE / "rights.sql").read_text(encoding="utf-8"))
    session.execute(rights.format(role=sql.Identifier(role), schema=sql.Identifier(row[0])))
