"""Where is measured: SQLite with its one worker, or a PostgreSQL server that answers and lets databases be created."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bench.__main__ import choose_targets
from bench.targets import LOCAL_SERVER, SQLITE, VARIABLE, Target, refusal, server_url
from config.settings import Settings
from tests.processes.process import free_port


def test_names() -> None:
    """A target is named by its store and its workers."""
    targets = [SQLITE, Target(1, "postgresql://server/postgres"), Target(3, "postgresql://server/postgres")]
    assert [target.name for target in targets] == ["SQLite, 1 worker", "PostgreSQL, 1 worker", "PostgreSQL, 3 workers"]


@pytest.mark.parametrize("target", [SQLITE, Target(3, "postgresql://server/postgres")])
def test_settings(target: Target, tmp_path: Path) -> None:
    """The service gets its database and workers; the empty resource gets the same number of workers."""
    url = target.new_database_url(tmp_path, "new")
    service, empty = Settings.from_environ(target.settings(url)), Settings.from_environ(target.settings())
    assert service.database_url == url
    assert service.workers == empty.workers == target.workers


def test_database_urls(tmp_path: Path) -> None:
    """A new database is a file, or stands beside the one that the server is known by, with the same parameters."""
    assert SQLITE.new_database_url(tmp_path, "new") == f"sqlite:///{tmp_path}/new.db"
    target = Target(2, "postgresql://me@server:1/postgres?sslmode=disable")
    assert target.new_database_url(tmp_path, "new") == "postgresql://me@server:1/new?sslmode=disable"


def test_which_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is that of the environment, as for the tests; else that of this machine."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert server_url() == LOCAL_SERVER
    monkeypatch.setenv(VARIABLE, "postgresql://server/postgres")
    assert server_url() == "postgresql://server/postgres"


def test_no_server() -> None:
    """One line reports that no server answers."""
    reason = refusal(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
    assert reason.startswith("no PostgreSQL server answers (")
    assert "\n" not in reason


def test_a_server(postgresql_url: str) -> None:
    """A server that answers is accepted; a role that cannot create databases is refused."""
    assert refusal(postgresql_url) == ""
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        role = sql.Identifier("payments_bench_test_role")
        admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
        try:
            poor = make_conninfo(postgresql_url, user="payments_bench_test_role", password="x")
            assert "this role may not create databases" in refusal(poor)
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(role))


def test_without_a_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a server only SQLite is measured, and one line says why; a run for PostgreSQL alone measures nothing."""
    monkeypatch.setenv(VARIABLE, f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
    assert choose_targets("both", 2) == [SQLITE]
    line = capsys.readouterr().err
    assert line.endswith(": SQLite alone\n")
    assert line.count("\n") == 1
    assert choose_targets("sqlite", 2) == [SQLITE]
    assert capsys.readouterr().err == ""
    assert choose_targets("postgresql", 2) == []


def test_with_a_server(monkeypatch: pytest.MonkeyPatch, postgresql_url: str) -> None:
    """With a server both stores are measured, PostgreSQL with the requested number of workers."""
    monkeypatch.setenv(VARIABLE, postgresql_url)
    assert choose_targets("both", 3) == [SQLITE, Target(3, postgresql_url)]
