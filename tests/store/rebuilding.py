"""A store of each kind with two customers, edits to it, and a rebuild that is killed half-way.

Run as a program, it rebuilds the store that its argument names and kills itself before the commit of stream b.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from store.backend import PaymentStore
from store.backends import backend_of
from store.port import StreamKey
from store.postgresql.rebuild import open_rebuild as open_postgresql
from store.rebuild import ReadRows, Rebuilding, Tally, rebuild
from store.verify import Problem, verify
from tests.store.postgresql_server import NOT_DURABLE, Schema
from tests.store.processes import CHECKOUT
from tests.store.tampering import tamper

OPTIONS = f"{NOT_DURABLE} -c lock_timeout=250ms"
"""The time limit for processes that do not end."""


@dataclass
class Place:
    """A store with the customers of ``tests.store.tampering``, and its place: a file or a schema."""

    open: Callable[[], PaymentStore]
    where: Path | Schema
    _opened: PaymentStore | None = None

    @property
    def store(self) -> PaymentStore:
        """The store as a service has it, until it is closed."""
        if self._opened is None:
            self._opened = self.open()
        return self._opened

    def close(self) -> None:
        """End the service, if it runs."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def target(self) -> str:
        """The argument of ``opened``."""
        return str(self.where) if isinstance(self.where, Path) else self.where.conninfo(owner=True, options=OPTIONS)

    def edit(self, *statements: str) -> None:
        """Change rows without the service, events included."""
        if isinstance(self.where, Path):
            tamper(self.where, *statements)
            return
        self.where.execute("ALTER TABLE events DISABLE TRIGGER events_refuse_change")
        for statement in statements:
            self.where.execute(statement)
        self.where.execute("ALTER TABLE events ENABLE TRIGGER events_refuse_change")

    def rebuild(self, tally: Tally | None = None, *, accept_cut: bool = False) -> list[Problem]:
        """Rebuild without a service, and return the problems for which streams stay as they are."""
        self.close()
        with opened(self.target) as store:
            return [it for it in rebuild(store, tally or Tally(), accept_cut=accept_cut) if it is not None]

    def problems(self) -> list[Problem]:
        """All problems that verify finds."""
        with self.store.audit() as audit:
            return list(verify(audit))

    def kill_half_way(self) -> None:
        """Rebuild in a process that is killed after stream b is written and before its commit."""
        self.close()
        command = [sys.executable, "-m", "tests.store.rebuilding", self.target]
        assert subprocess.run(command, cwd=CHECKOUT, check=False, timeout=60).returncode == -signal.SIGKILL


def opened(target: str) -> AbstractContextManager[Rebuilding]:
    """The store for a rebuild, by a file's path or by PostgreSQL's connection string."""
    if Path(target).exists():
        return backend_of(f"sqlite:///{target}", root=CHECKOUT).rebuild()
    return open_postgresql(target)


def _dying(replace: Callable[[StreamKey, ReadRows], None]) -> Callable[[StreamKey, ReadRows], None]:
    def replace_and_die(stream: StreamKey, rows: ReadRows) -> None:
        replace(stream, rows)
        if stream.id == "b":
            os.kill(os.getpid(), signal.SIGKILL)

    return replace_and_die


if __name__ == "__main__":
    with opened(sys.argv[1]) as dying, patch.object(dying, "replace", _dying(dying.replace)):
        list(rebuild(dying, Tally()))
