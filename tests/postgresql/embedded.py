"""A PostgreSQL server from a Python package, in a folder of its own. Tests start, stop and kill it.

PostgreSQL refuses to be started by root; then it runs as a user without any rights. It ends with the process that
started it, also when that process is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

from tests.postgresql.programs import server_programs, server_user
from tests.processes.process import PATIENCE_S, free_port

_HOST: Final = "127.0.0.1"
_POLL_S: Final = 0.02
# Becomes the user of the first two words, and is shut down at once when the process that started it is gone. In this
# order: a change of user takes the second back.
_UNTIL_WE_END: Final = """
import ctypes, os, sys
uid, gid = map(int, sys.argv[1:3])
if os.geteuid() != uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    PR_SET_PDEATHSIG, SIGQUIT = 1, 3
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGQUIT)
os.execv(sys.argv[3], sys.argv[3:])
"""


class EmbeddedServer:
    """A server in ``folder``, which is empty, on a port of its own that it keeps; make it in the main thread.

    ``durable``: what it has committed survives a power cut, as in production; otherwise it is quicker.
    ``primary``: begin as a standby of it, named ``standby`` to it.
    """

    def __init__(self, folder: Path, *, durable: bool, primary: EmbeddedServer | None = None) -> None:
        self._data, self._log = folder / "data", folder / "log"
        self._programs, self._user = server_programs(), server_user()
        self._process: subprocess.Popen[bytes] | None = None
        self.port: Final = free_port()
        self._settings = {
            "port": str(self.port),
            "listen_addresses": _HOST,
            "unix_socket_directories": "",
            "fsync": "on" if durable else "off",
            "log_min_messages": "fatal",
        }
        os.chown(folder, *self._user)
        self._initialise(primary)
        self.start()

    def url(self, database: str = "postgres") -> str:
        """The URL of ``database``, whether the server runs or not."""
        return f"postgresql://postgres@{_HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start on the existing data, and wait until the server answers."""
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        self._process = process = self._program("postgres", *settings)
        deadline = time.monotonic() + PATIENCE_S
        while not answers(self.url()):
            assert process.poll() is None, f"PostgreSQL did not start: {self._log.read_text()}"
            assert time.monotonic() < deadline, f"PostgreSQL does not answer: {self._log.read_text()}"
            time.sleep(_POLL_S)

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended since."""
        return self._process is not None

    def kill(self) -> None:
        """Shut down as ``immediate`` does: everything is dropped at once, and recovered at the next start."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Shut down as ``fast`` does: sessions are disconnected, and no recovery is needed at the next start."""
        self._end(signal.SIGINT)

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signum)
            process.wait(PATIENCE_S)

    def order(self, *statements: str) -> None:
        """Run statements as the superuser, each on its own."""
        with psycopg.connect(self.url(), autocommit=True) as admin:
            for statement in statements:
                admin.execute(statement.encode())

    def set(self, name: str, value: str) -> None:
        """Change a setting of the server now; a session applies it before its next statement."""
        self.order(f"ALTER SYSTEM SET {name} = '{value}'", "SELECT pg_reload_conf()")

    def _initialise(self, primary: EmbeddedServer | None) -> None:
        if primary is not None:
            source = ("--dbname", f"host={_HOST} port={primary.port} user=postgres application_name=standby")
            status = self._program("pg_basebackup", *source, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        else:
            simple = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
            status = self._program("initdb", "--username=postgres", *simple)
        assert status.wait(PATIENCE_S) == 0, f"the data cannot be made: {self._log.read_text()}"

    def _program(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        become = [sys.executable, "-IS", "-c", _UNTIL_WE_END, *map(str, self._user)]
        command = [*become, str(self._programs / name), "-D", str(self._data), *arguments]
        with self._log.open("ab") as log:
            # In a group of its own: Ctrl-C is for the tests, which end it afterwards.
            return subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)


@contextmanager
def embedded_server(*, durable: bool, primary: EmbeddedServer | None = None) -> Iterator[EmbeddedServer]:
    """A server that is removed with its data after the block."""
    with tempfile.TemporaryDirectory(prefix="payments-postgresql-") as folder:
        server = EmbeddedServer(Path(folder), durable=durable, primary=primary)
        try:
            yield server
        finally:
            server.kill()


def answers(url: str) -> bool:
    """Whether a server answers at ``url`` now."""
    with suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False
