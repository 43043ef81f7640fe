"""Targets of a measurement: the store, the number of workers, and the settings for a service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

VARIABLE: Final = "PAYMENTS_TEST_DATABASE_URL"
LOCAL_SERVER: Final = "postgresql://postgres@127.0.0.1:5432/postgres"

_ANSWERS_WITHIN_S: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """A store, and the number of workers of a service on it. The empty resource for comparison has the same number.

    ``server_url``: the PostgreSQL server, as the URL of a database from which others can be created. Empty for SQLite.
    """

    workers: int = 1
    server_url: str = ""

    @property
    def name(self) -> str:
        """The heading on the page."""
        return (
            f"{'PostgreSQL' if self.server_url else 'SQLite'}, {self.workers} worker{'' if self.workers == 1 else 's'}"
        )

    def settings(self, database_url: str = "") -> dict[str, str]:
        """Settings of a service, or of the empty resource: its database and number of workers."""
        # The empty resource opens no database, but its configuration reads the same settings. SQLite permits only one
        # worker.
        url = database_url or self.server_url
        named = {"PAYMENTS_DATABASE_URL": url} if url else {}
        return {**named, "PAYMENTS_WORKERS": str(self.workers)}

    def new_database_url(self, folder: Path, name: str) -> str:
        """The URL of a new database of this target: a file in ``folder``, or one of the server's."""
        if not self.server_url:
            return f"sqlite:///{folder / name}.db"
        server, _, parameters = self.server_url.partition("?")
        return f"{server.rpartition('/')[0]}/{name}" + (f"?{parameters}" if parameters else "")


SQLITE: Final = Target()


def server_url() -> str:
    """The PostgreSQL server to measure: the one of the environment variable, or this machine's."""
    return os.environ.get(VARIABLE) or LOCAL_SERVER


def refusal(url: str) -> str:
    """The reason why the server at ``url`` cannot be measured, in one line; empty if it can."""
    try:
        with psycopg.connect(url, connect_timeout=_ANSWERS_WITHIN_S) as connection:
            row = connection.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = user").fetchone()
    except psycopg.Error as error:
        words = (str(error).strip() or type(error).__name__).splitlines()
        return f"no PostgreSQL server answers ({words[0]}; {VARIABLE} names another)"
    return "" if row == (True,) else f"this role may not create databases on the PostgreSQL server ({VARIABLE})"
