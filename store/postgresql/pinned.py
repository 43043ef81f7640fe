"""The settings that every session of this service runs under, whatever the server, database or role defaults to.

``docs/operating.md`` lists them. ``default_transaction_read_only`` is not among them: it is the operator's way to stop
all writing.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

from store.errors import SchemaError

SERVER_MIN: Final = 140000
"""PostgreSQL 14: before it a session is not told that its server is a standby."""
ENCODING: Final = "UTF8"
SEARCH_PATH: Final = '"$user", public'
"""The server's own default; a URL whose options name another one keeps that."""

PINNED: Final = {
    # what the server says, and how: a warning may say that a commit is not replicated
    "client_min_messages": "notice",
    "exit_on_error": "off",
    # how values are written and read
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    # what a transaction sees, and how long it may last
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "transaction_timeout": "0",
    # what names mean, and what functions and views may do
    "row_security": "on",
    "restrict_nonsystem_relation_kind": "",
    "check_function_bodies": "on",
    "plpgsql.extra_errors": "none",
    "plpgsql.extra_warnings": "none",
}
"""By a statement after the connection is made: what libpq reads in its environment (``PGTZ``, ``PGDATESTYLE``) and
options of the URL do not get past that. A server that does not know a setting has no default for it either."""

_PIN: Final = """
SELECT set_config(p.name, p.value, false)
FROM unnest(%s::text[], %s::text[]) AS p (name, value)
WHERE current_setting(p.name, true) IS NOT NULL
"""


def pin(connection: psycopg.Connection[Any], options: str) -> None:
    """Set everything in ``PINNED``; ``options`` are those that the connection was made with."""
    settings = PINNED if "search_path" in options else PINNED | {"search_path": SEARCH_PATH}
    connection.execute(_PIN, (list(settings), list(settings.values())))


def refuse_unsuitable(version: int, encoding: str) -> None:
    """Raises SchemaError for a server or a database that no setting makes fit."""
    if version < SERVER_MIN:
        raise SchemaError(
            f"the server is PostgreSQL {version // 10000}, and this service needs {SERVER_MIN // 10000} or newer:"
            " upgrade the server"
        )
    if encoding != ENCODING:
        raise SchemaError(
            f"the database's encoding is {encoding}, and this service needs {ENCODING}: make a database"
            f" (CREATE DATABASE … ENCODING '{ENCODING}' TEMPLATE template0) and name it in PAYMENTS_DATABASE_URL"
        )
