"""No default of a database or a role breaks a route or a command. A database that cannot be used is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import psycopg
import pytest
from psycopg import sql

from store.backends import backend_of
from store.errors import SchemaError
from store.keys import NewKey, Scope
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.migrate import migrate
from store.postgresql.session_settings import SERVER_MIN, SESSION_SETTINGS, refuse_unsuitable
from store.postgresql.sessions import Session, connection_settings
from store.rebuild import Tally, rebuild
from store.verify import verify
from tests.api import bad
from tests.api.live import living_on
from tests.api.routes import ROUTES
from tests.api.support import Api
from tests.postgresql.embedded import EmbeddedServer, embedded_server
from tests.store.processes import CHECKOUT

HOSTILE = {
    "client_encoding": "LATIN1",
    "client_min_messages": "error",
    "exit_on_error": "on",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "DateStyle": "German, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "default_transaction_isolation": "repeatable read",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "search_path": "nowhere",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "transaction_timeout": "2s",
    "idle_session_timeout": "1ms",
    "row_security": "off",
    "restrict_nonsystem_relation_kind": "view",
    "plpgsql.extra_errors": "all",
    "plpgsql.extra_warnings": "all",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_nestloop": "off",
}
SERIALIZABLE = HOSTILE | {"default_transaction_isolation": "serializable", "DateStyle": "SQL, YMD"}
SUCCESS = {200, 201, 202, 204}
ANSWERED = SUCCESS | {401, 404, 409, 422}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server whose settings the test may change."""
    with embedded_server(durable=False) as server:
        yield server


@pytest.fixture(params=["database", "role"])
def hostile_url(server: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database with every harmful default of the database or of the role."""
    name = f"hostile_{request.param}"
    server.order(f"CREATE DATABASE {name}")
    whose, defaults = "DATABASE", HOSTILE
    if request.param == "role":
        whose, defaults = "ROLE postgres IN DATABASE", SERIALIZABLE
    with psycopg.connect(server.url(), autocommit=True) as admin:
        for setting, value in defaults.items():
            admin.execute(
                sql.SQL("ALTER {} {} SET {} = {}").format(
                    sql.SQL(whose), sql.Identifier(name), sql.Identifier(*setting.split(".")), sql.Literal(value)
                )
            )
    yield server.url(name)
    server.order(f"DROP DATABASE {name} WITH (FORCE)")


def test_every_route_and_command_works_with_any_defaults(hostile_url: str) -> None:
    """All steps work with these defaults: the first migration, all routes, verify, rebuild and API keys."""
    assert migrate(hostile_url).applied[0] == 1
    assert migrate(hostile_url) == ([], False)
    with living_on(lambda _: PostgresqlStore(hostile_url)) as live:
        api = Api(live)
        for route in ROUTES:
            body = None if route.body is None else bad.as_json(route.body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            result = api.request(route.method, route.path(live.ids), body=body, headers=headers)
            assert result.status_code in ANSWERED, (str(route), result.text)
        assert api.get("/readyz").status_code == 200
        assert api.get("/v1/events?limit=200").json["items"] != []
    with backend_of(hostile_url, root=CHECKOUT).audit() as audit:
        assert list(verify(audit)) == []
    with backend_of(hostile_url, root=CHECKOUT).rebuild() as rebuilding:
        assert [problem for problem in rebuild(rebuilding, Tally()) if problem is not None] == []
    with backend_of(hostile_url, root=CHECKOUT).keyring(clock=_no_clock) as keyring:
        keyring.add(NewKey("key-1", bytes(32), "main", frozenset({Scope.READ}), "täst", None))
        assert [key.label for key in keyring.list("main")] == ["täst"]
        assert keyring.revoke("key-1")


def _no_clock() -> datetime:  # a server has its own
    raise AssertionError


def test_sessions_have_the_pinned_settings(hostile_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither libpq's environment nor options of the URL override a pinned setting.

    Other settings remain the operator's choice.
    """
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGOPTIONS", "-c synchronous_commit=off")
    url = f"{hostile_url}?client_encoding=LATIN1&options=-c%20bytea_output%3Descape%20-c%20statement_timeout%3D77"
    with Session.connect(**connection_settings(url), autocommit=True) as session:
        session.execute("DO $$ BEGIN END $$")  # PL/pgSQL is loaded, so its settings exist
        for name, value in SESSION_SETTINGS.items():
            assert _shown(session, name) in {value, None}, name
        chosen = {name: _shown(session, name) for name in ("client_encoding", "synchronous_commit", "search_path")}
        assert chosen == {"client_encoding": "UTF8", "synchronous_commit": "on", "search_path": '"$user", public'}
        assert _shown(session, "statement_timeout") == "77ms"


def _shown(session: Session, name: str) -> str | None:
    row = session.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


OPENINGS: dict[str, Callable[[str], object]] = {
    "migrate": migrate,
    "the service": PostgresqlStore,
    "verify": lambda url: backend_of(url, root=CHECKOUT).audit().__enter__(),
    "keys": lambda url: backend_of(url, root=CHECKOUT).keyring(clock=_no_clock).__enter__(),
    "rebuild": lambda url: backend_of(url, root=CHECKOUT).rebuild().__enter__(),
}


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_a_database_of_another_encoding_is_refused(server: EmbeddedServer, encoding: str) -> None:
    """Every command and the service refuse it before anything is created. One line states what to do."""
    name = f"odd_{encoding.lower()}"
    server.order(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    for opening in OPENINGS.values():
        with pytest.raises(SchemaError, match="ENCODING 'UTF8' TEMPLATE template0") as refused:
            opening(server.url(name))
        assert encoding in str(refused.value)
        assert "\n" not in str(refused.value)
    with psycopg.connect(server.url(name)) as admin:
        assert admin.execute("SELECT to_regclass('schema_migrations') IS NULL").fetchone() in {(True,), (b"t",)}


def test_an_old_server_is_refused() -> None:
    """A server older than 14, which does not report all settings to its sessions, is refused."""
    with pytest.raises(SchemaError, match="PostgreSQL 13, and this service needs 14 or newer: upgrade"):
        refuse_unsuitable(130_020, "UTF8")
    refuse_unsuitable(SERVER_MIN, "UTF8")


def test_tables_in_a_default_schema_are_not_created_twice(server: EmbeddedServer) -> None:
    """A schema that only a default of the database names is not used.

    The error explains how to name it, and then its tables are found.
    """
    server.order("CREATE DATABASE elsewhere")
    url = server.url("elsewhere")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA pay")
        admin.execute("ALTER DATABASE elsewhere SET search_path = pay")
    named = f"{url}?options=-csearch_path%3Dpay"
    migrate(named)
    for opening in (migrate, PostgresqlStore):
        with pytest.raises(SchemaError, match="options=-csearch_path%3Dpay"):
            opening(url)
    PostgresqlStore(named).close()
