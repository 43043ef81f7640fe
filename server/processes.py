"""The child processes of a command: started in order, stopped in reverse order, none left behind.

Each is a process group of its own, so that Ctrl-C reaches only the parent, which then ends them one after the other.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_POLL_S: Final = 0.1
_WATCH_S: Final = 10.0


class ChildError(Exception):
    """A child failed, ended by itself or did not become ready; the text is one line for the operator."""


class StopAskedError(Exception):
    """The operator requested the end: Ctrl-C, SIGTERM, or a closed terminal."""


class Children:
    """The children of this process, which must be single-threaded and have only one such object.

    From then on signals do not end this process: the waiting methods raise StopAskedError. On Linux children also end
    when this process is killed.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._say = say
        self._running: list[tuple[str, subprocess.Popen[bytes], float]] = []
        self._stops_asked = 0
        self._wake, wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake, False)
        # No signal between a check and the next wait is missed: each leaves a byte in the pipe.
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup is respected. An ignored SIGINT only comes from a shell without job control ("make run &").
            if signum is not signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._ask_stop)

    def run(self, name: str, command: Sequence[str], stops_within_s: float) -> None:
        """Run a command to its end. Raises ChildError when it fails, StopAskedError at a request to stop."""
        self.start(name, command, stops_within_s)
        process = self._running[-1][1]
        while process.poll() is None:
            self._wait(_WATCH_S)
            self._raise_if_stop_asked()
        self._running.pop()
        if process.returncode:
            raise ChildError(f"{name} ended {_how(process.returncode)}")

    def start(self, name: str, command: Sequence[str], stops_within_s: float) -> None:
        """Start a command that runs until ``stop``, which kills it after ``stops_within_s`` seconds."""
        parent = os.getpid()
        process = subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=lambda: _end_with(parent),  # noqa: PLW1509 - this process has no other threads
        )
        self._running.append((name, process, stops_within_s))

    def wait_until(self, name: str, ready: Callable[[], bool], within_s: float) -> None:
        """Wait until ``ready``. Raises ChildError after ``within_s`` seconds or when a child ends; StopAskedError."""
        deadline = time.monotonic() + within_s
        while not ready():
            if time.monotonic() > deadline:
                raise ChildError(f"{name} is not ready after {within_s:g} s")
            self._wait(_POLL_S)
            self._raise_if_over()

    def wait_for_end(self) -> None:
        """Wait until a child ends (raises ChildError) or the operator requests the end (raises StopAskedError)."""
        while True:
            self._wait(_WATCH_S)
            self._raise_if_over()

    def stop(self) -> None:
        """End all children in reverse order, each with its own children. A second Ctrl-C kills instead of waiting."""
        kill_above = max(self._stops_asked, 1)
        while self._running:
            name, process, within_s = self._running.pop()
            if process.poll() is None:
                self._say(f"stopping {name}")
                process.terminate()
            deadline = time.monotonic() + within_s
            while _group_is_alive(process):
                if time.monotonic() > deadline or self._stops_asked > kill_above:
                    self._say(f"killing {name}")
                    _signal_group(process, signal.SIGKILL)
                    process.wait()
                    break
                self._wait(_POLL_S)

    def _ask_stop(self, _signum: int, _frame: FrameType | None) -> None:
        self._stops_asked += 1

    def _wait(self, seconds: float) -> None:
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)

    def _raise_if_stop_asked(self) -> None:
        if self._stops_asked:
            raise StopAskedError

    def _raise_if_over(self) -> None:
        self._raise_if_stop_asked()
        for name, process, _ in self._running:
            if process.poll() is not None:
                raise ChildError(f"{name} ended by itself, {_how(process.returncode)}")


def _end_with(parent: int) -> None:
    # In the child, before exec: the kernel sends it SIGTERM when its parent dies.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def _group_is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # an unreaped child would still count
    return _signal_group(process, 0)


def _signal_group(process: subprocess.Popen[bytes], signum: int) -> bool:
    try:
        os.killpg(process.pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _how(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
