"""``manage.py migrate``: it reports every change of the database that it made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg

from store.postgresql.migrate import migrations
from tests.postgresql.servers import new_database
from tests.processes.installation import CHECKOUT
from tests.store.earlier import before_heads
from tests.store.processes import child, line

NOTHING = "migrations applied: none, all are present"
FUNCTIONS = "functions defined: those of this version"


def run(url: str) -> subprocess.CompletedProcess[str]:
    """Run ``migrate`` on the database at ``url``."""
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": url}
    command = [sys.executable, "manage.py", "migrate"]
    return subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False, timeout=60)


def migrate(url: str) -> list[str]:
    """Return the lines of its report, without warnings."""
    done = run(url)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if not line.startswith("warning: ")]


def test_an_embedded_database(tmp_path: Path) -> None:
    """SQLite has migrations only."""
    url = f"sqlite:///{tmp_path}/payments.db"
    (report,) = migrate(url)
    assert report.startswith("migrations applied: 1, 2, ")
    assert migrate(url) == [NOTHING]


def test_a_damaged_database(tmp_path: Path) -> None:
    """One line names the stream and the remedy, with status 1. Characters of an edited name cannot forge a line."""
    path = tmp_path / "payments.db"
    before_heads(path, "INSERT INTO balances VALUES ('main', 'gh\nost', 'USD', 500, 0)")
    done = run(f"sqlite:///{path}")
    assert (done.returncode, done.stdout) == (1, "")
    remedy = "the database stays at version 9; examine it with `manage.py verify` of the version before"
    assert done.stderr == f"manage.py migrate: {path}: main/gh\\nost has balances and no events: {remedy}\n"


def test_beside_a_service(tmp_path: Path) -> None:
    """With a migration to apply it is refused with one line and status 1; with none it succeeds."""
    path = tmp_path / "payments.db"
    before_heads(path)
    url = f"sqlite:///{path}"
    with child("serve", path) as service:
        assert line(service) == "held"
        done = run(url)
        assert (done.returncode, done.stdout) == (1, "")
        remedy = "stop it; a service of this version migrates the database at its start"
        assert done.stderr == f"manage.py migrate: process {service.pid} works on payments.db: {remedy}\n"
    assert migrate(url) == ["migrations applied: 10"]
    with child("serve", path) as service:
        assert line(service) == "held"
        assert migrate(url) == [NOTHING]


def test_a_server(postgresql_url: str) -> None:
    """On PostgreSQL it also reports that it defined functions, even if every migration was present."""
    with new_database(postgresql_url) as url:
        assert migrate(url) == [f"migrations applied: {', '.join(map(str, migrations()))}", FUNCTIONS]
        assert migrate(url) == [NOTHING]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE schema_functions SET digest = 'of other columns'")
        assert migrate(url) == [NOTHING, FUNCTIONS]
