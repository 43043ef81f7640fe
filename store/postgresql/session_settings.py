"""The settings of every session of this service, independent of defaults of the server, database or role.

``docs/operating.md`` lists them. ``default_transaction_read_only`` is not among them, because operators use it to stop
all writes.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

from store.errors import SchemaError

SERVER_MIN: Final = 140000
"""PostgreSQL 14: earlier servers do not report to a session that they are a standby."""
ENCODING: Final = "UTF8"
SEARCH_PATH: Final = '"$user", public'
"""The server's default. Another one in the URL's options wins."""

SESSION_SETTINGS: Final = {
    # messages of the server: a warning may report a commit that is not replicated
    "client_min_messages": "notice",
    "exit_on_error": "off",
    # formats of values
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
    # isolation and duration of transactions
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "transaction_timeout": "0",
    # name resolution, and the rights of functions and views
    "row_security": "on",
    "restrict_nonsystem_relation_kind": "",
    "check_function_bodies": "on",
    "plpgsql.extra_errors": "none",
    "plpgsql.extra_warnings": "none",
}
"""Set by a statement after connecting, which overrides libpq's environment variables (``PGTZ``, ``PGDATESTYLE``) and
options of the URL. Settings that a server does not know are skipped."""

_PIN: Final = """
SELECT set_config(p.name, p.value, false)
FROM unnest(%s::text[], %s::text[]) AS p (name, value)
WHERE current_setting(p.name, true) IS NOT NULL
"""


def apply_settings(connection: psycopg.Connection[Any], options: str) -> None:
    """Set everything in ``SESSION_SETTINGS``; ``options`` are those of the connection."""
    settings = SESSION_SETTINGS if "search_path" in options else SESSION_SETTINGS | {"search_path": SEARCH_PATH}
    connection.execute(_PIN, (list(settings), list(settings.values())))


def refuse_unsuitable(version: int, encoding: str) -> None:
    """Raises SchemaError for a server or a database that no setting can make suitable."""
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
