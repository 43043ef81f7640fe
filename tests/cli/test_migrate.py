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

NOTHING = "migrations applied: none, all are present"
FUNCTIONS = "functions defined: those of this version"


def migrate(url: str) -> list[str]:
    """Run ``migrate`` on the database at ``url`` and return the lines of its report, without warnings."""
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": url}
    command = [sys.executable, "manage.py", "migrate"]
    done = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if not line.startswith("warning: ")]


def test_an_embedded_database(tmp_path: Path) -> None:
    """SQLite has migrations only."""
    url = f"sqlite:///{tmp_path}/payments.db"
    (report,) = migrate(url)
    assert report.startswith("migrations applied: 1, 2, ")
    assert migrate(url) == [NOTHING]


def test_a_server(postgresql_url: str) -> None:
    """On PostgreSQL it also reports that it defined functions, even if every migration was present."""
    with new_database(postgresql_url) as url:
        assert migrate(url) == [f"migrations applied: {', '.join(map(str, migrations()))}", FUNCTIONS]
        assert migrate(url) == [NOTHING]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE schema_functions SET digest = 'of other columns'")
        assert migrate(url) == [NOTHING, FUNCTIONS]
