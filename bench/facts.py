"""Facts about the machine and the versions, for the beginning of the results page."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import apsw

from bench import machine
from bench.databases import PostgresqlDatabase, new_database
from bench.servers import CHECKOUT
from bench.targets import Target

_LIBRARIES: Final = ("falcon", "gunicorn", "gevent", "marshmallow", "pykka", "orjson", "apsw", "psycopg")


def facts(cores: int, targets: Iterable[Target], written: Collection[Path]) -> dict[str, str]:
    """Names and values.

    ``written`` are the pages that the bench writes: changes of them do not count for the commit.
    """
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name:
        disk = f"{machine.file_system(Path(name))}, a page on it after {machine.sync_ms(Path(name)):.2f} ms (median)"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(written),
        "machine": f"{machine.processor()}, {cores} cores of {os.cpu_count()} used; {platform.system()}; disk {disk}",
        "software": f"Python {platform.python_version()}, {libraries}, SQLite {apsw.sqlite_lib_version()}",
        "service": "settings and gateways file as shipped except addresses, database and workers; log lines at INFO,"
        " as JSON, into a file",
    }
    for target in targets:
        if target.server_url:
            found["PostgreSQL"] = _server(target)
    return found


def _server(target: Target) -> str:
    with tempfile.TemporaryDirectory() as name, new_database(target, Path(name)) as database:
        assert isinstance(database, PostgresqlDatabase)
        settings = database.server_settings()
        here = database.is_on_this_machine
    where = "" if here else "on another machine, so that its CPU is not counted; "
    return where + ", ".join(f"{name} {value}" for name, value in settings.items())


def _commit(written: Collection[Path]) -> str:
    git = shutil.which("git")
    if git is None or not (CHECKOUT / ".git").exists():
        return "unknown"

    def git_output(*arguments: str) -> str:
        done = subprocess.run([git, *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    own = tuple(path.name for path in written)
    changed = [line for line in git_output("status", "--porcelain").splitlines() if not line.endswith(own)]
    commit = git_output("rev-parse", "--verify", "--short=12", "HEAD") or "none"
    return f"{commit}, with changes" if changed else commit
