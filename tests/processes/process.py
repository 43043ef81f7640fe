"""One process of a test: a group of its own, its output in files, waiting with a deadline. Knows no command."""

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
"""How long anything may take that is done within a moment; only what is broken reaches it."""

_POLL_S: Final = 0.03
# Runs the rest of its command line as a process that is killed when this one ends, however that happens (Linux). Not
# as a preexec_fn, which could hang: clients run in threads while a service is started.
_UNTIL_WE_END: Final = (
    "import ctypes, os, sys; PR_SET_PDEATHSIG, SIGKILL = 1, 9; ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
_SHOWN_CHARACTERS: Final = 6_000


class Process:
    """A command that runs; what it says is in ``<name>.out`` and ``<name>.err`` of ``folder``.

    With ``output``, a descriptor, all that it says goes there.
    Its first word is the path of a program. Make it in the main thread: with the thread that made it, it would end.
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
        """Its id, which is its group's, too."""
        return self._popen.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended; its children may live on."""
        return self._popen.poll() is not None

    @property
    def out(self) -> str:
        """What it has said."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has complained of."""
        return self._err.read_text(errors="replace")

    def said(self, message: str) -> int:
        """How often it, or a child of it, has logged this message (in the service's JSON lines)."""
        return self.out.count(f'"message":"{message}"')

    @property
    def logs(self) -> str:
        """The end of both, for whoever wonders why a test failed."""
        said = {"out": self.out[-_SHOWN_CHARACTERS:], "err": self.err[-_SHOWN_CHARACTERS:]}
        return "\n".join(f"--- {self.name}.{kind}\n{text}" for kind, text in said.items() if text)

    def children(self) -> list[int]:
        """Ids of its children (Linux)."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self._popen.send_signal(signum)

    def send_to_group(self, signum: signal.Signals) -> None:
        """Send a signal to all of its group, as a terminal does; to nobody when all of it is gone."""
        with suppress(ProcessLookupError, PermissionError):  # macOS forbids it once only the dead are left
            os.killpg(self.pid, signum)

    def wait(self) -> int:
        """Its exit status, minus the signal that killed it."""
        return self._popen.wait(PATIENCE_S)

    def end(self) -> None:
        """End all of its group at once, whatever state it is in."""
        self.send_to_group(signal.SIGKILL)
        self._popen.wait(PATIENCE_S)


def processes_with(variable: str, value: str) -> list[int]:
    """Ids of living processes that were started with ``variable=value`` in their environment (Linux; else none)."""
    wanted = f"{variable}={value}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Return as soon as ``condition`` holds; fail when it does not ``within_s``."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain until {what}"
        time.sleep(_POLL_S)


def free_port() -> int:
    """A port of loopback that nothing listens on now.

    It lies below those that the kernel gives to outgoing connections: a client that calls again and again while the
    service is down could get the very port that it calls, be connected to itself, and keep the service from it.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
