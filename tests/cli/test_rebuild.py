"""``manage.py rebuild``: exit statuses, output, and progress on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from store.backends import backend_of
from store.verify import verify
from tests.postgresql.servers import new_database
from tests.processes.installation import CHECKOUT
from tests.store.builders import Clock
from tests.store.tampering import append, fill, problems, tamper

WRONG = "UPDATE balances SET available_minor = 7"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with two customers, whose balances are wrong."""
    fill(tmp_path / "payments.db")
    tamper(tmp_path / "payments.db", WRONG)
    return tmp_path / "payments.db"


def rebuild(where: Path | str, *options: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run ``rebuild`` on ``where``, a file or a URL."""
    url = where if isinstance(where, str) else f"sqlite:///{where}"
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": url, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "manage.py", "rebuild", *options]
    return subprocess.run(
        command, cwd=CHECKOUT, env=environ, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )


def test_without_a_terminal(path: Path) -> None:
    """Without a terminal, progress lines and a result are printed. A second run finds nothing to do."""
    done = rebuild(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "20 % of about 17 events",
        "100 % of about 17 events",
        "2 streams, 17 events, 2 streams rebuilt, 0 problems",
    ]
    assert problems(path) == []
    assert rebuild(path).stdout.endswith("2 streams, 17 events, 0 streams rebuilt, 0 problems\n")


def test_on_a_terminal(path: Path) -> None:
    """On a terminal a progress bar ends at 100 %, followed by the same result line."""
    ours, theirs = pty.openpty()
    try:
        done = rebuild(path, stdout=theirs)
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 0
    assert "17/17" in shown
    assert "\u2501" in shown
    assert shown.endswith("2 streams, 17 events, 2 streams rebuilt, 0 problems\r\n")


def test_a_broken_stream(path: Path) -> None:
    """A broken stream is named, the others are rebuilt, and the status is 1."""
    tamper(path, "DELETE FROM events WHERE stream_id = 'a' AND version = 3")
    done = rebuild(path)
    assert (done.returncode, done.stderr) == (1, "")
    problems = done.stdout.splitlines()
    assert "left unchanged: main/a version 4: version 3 is missing" in problems
    assert problems[-1] == "2 streams, 16 events, 1 streams rebuilt, 3 problems"


def test_a_cut_end(path: Path) -> None:
    """A stream whose last events are missing is named, with status 1. ``--accept-cut`` rebuilds it."""
    tamper(path, "DELETE FROM events WHERE stream_id = 'a' AND version > 4")
    done = rebuild(path)
    assert (done.returncode, done.stderr) == (1, "")
    text = "the events end at version 4, but the row of a transaction is of version 5"
    assert f"left unchanged: main/a version -: {text}" in done.stdout.splitlines()
    accepted = rebuild(path, "--accept-cut")
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert accepted.stdout.endswith("2 streams, 16 events, 1 streams rebuilt, 0 problems\n")


def test_on_a_server(postgresql_url: str) -> None:
    """PostgreSQL gives the same result. While a service runs, ``rebuild`` is refused with one line."""
    with new_database(postgresql_url) as url:
        backend_of(url, root=CHECKOUT).migrate()
        store = backend_of(url, root=CHECKOUT).open(clock=Clock())
        try:
            append(store)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(WRONG)
            refused = rebuild(url)
            store.close()
            done = rebuild(url)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.endswith("2 streams, 17 events, 2 streams rebuilt, 0 problems\n")
        finally:
            store.close()
        with backend_of(url, root=CHECKOUT).audit() as audit:
            assert list(verify(audit)) == []
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("manage.py rebuild: a process works on the database: ")


def test_no_database(tmp_path: Path) -> None:
    """A missing database gives one line and status 1."""
    done = rebuild(tmp_path / "none.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "manage.py rebuild: there is no database none.db: migrate first\n"
