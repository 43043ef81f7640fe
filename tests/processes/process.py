"""One process of a test, with its own process group, output files, and waits with a deadline."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 60.0
"""How long a step may take; only a broken process reaches this limit."""

_POLL_S: Final = 0.03
# Runs the rest of its command line as a process that is killed when this one ends in any way (Linux). It is not a
# preexec_fn, because that could hang: clients run in threads while a service starts.
_UNTIL_WE_END: Final = (
    "import ctypes, os, sys; PR_SET_PDEATHSIG, SIGKILL = 1, 9; ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
_SHOWN_CHARACTERS: Final = 6_000


class Process:
    """A running command; its output is in ``<name>.out`` and ``<name>.err`` of ``folder``.

    With ``output``, a descriptor, its output goes there.
    The first word of ``command`` is a path. Create the process in the main thread: it ends with the creating thread.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        cwd: Path,
        environ: Mapping[str, str],
        folder: Path,
        output: int | None = None,
    ) -> None:
        self.name = name
        if sys.platform == "linux":
            command = [sys.executable, "-IS", "-c", _UNTIL_WE_END, *command]
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out if output is None else output,
                stderr=err if output is None else output,
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """Its id, which is also the id of its group."""
        return self._popen.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended; its children may still run."""
        return self._popen.poll() is not None

    @property
    def out(self) -> str:
        """Its standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """Its standard error so far."""
        return self._err.read_text(errors="replace")

    def said(self, message: str) -> int:
        """The number of JSON log lines with this message, from the process and its children."""
        return self.out.count(f'"message":"{message}"')

    @property
    def logs(self) -> str:
        """The last lines of both outputs, for the report of a failed test."""
        said = {"out": self.out[-_SHOWN_CHARACTERS:], "err": self.err[-_SHOWN_CHARACTERS:]}
        return "\n".join(f"--- {self.name}.{kind}\n{text}" for kind, text in said.items() if text)

    def children(self) -> list[int]:
        """Ids of its children (Linux)."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._popen.send_signal(signum)

    def send_to_group(self, signum: signal.Signals) -> None:
        """Send a signal to its process group, as a terminal does; do nothing when the group has ended."""
        with suppress(ProcessLookupError, PermissionError):  # macOS forbids it when only ended processes are left
            os.killpg(self.pid, signum)

    def wait(self) -> int:
        """Its exit status, minus the signal that killed it."""
        return self._popen.wait(PATIENCE_S)

    def end(self) -> None:
        """Kill its whole group at once, in any state."""
        self.send_to_group(signal.SIGKILL)
        self._popen.wait(PATIENCE_S)


def processes_with(variable: str, value: str) -> list[int]:
    """Ids of the processes with ``variable=value`` in their environment (Linux; else none)."""
    wanted = f"{variable}={value}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Return as soon as ``condition`` holds; fail if this takes longer than ``within_s``."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:g} s without reaching: {what}"
        time.sleep(_POLL_S)


def free_port() -> int:
    """A free port of the loopback interface.

    It is below the ephemeral ports. Otherwise a client that retries while the service is down could get the same port
    as its own, connect to itself, and block the port for the service.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
