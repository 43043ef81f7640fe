"""The processes under measurement. Each is started on a free loopback port, and ended with its ``with`` block."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import children
from bench.provider import Counters

CHECKOUT: Final = Path(__file__).resolve().parent.parent

_HOST: Final = "127.0.0.1"
_READY_WITHIN_S: Final = 60.0
_STOPS_WITHIN_S: Final = 40.0
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_READY: Final = b'"message":"ready"'
"""Log message of a ready worker."""
_GIVEN_UP: Final = b'"message":"the service could not start"'
"""Log message of a worker that failed to start."""
_URL: Final = re.compile(r'^(url *= *)"[^"]*"', re.MULTILINE)


class ServerError(Exception):
    """A process did not start or ended early; the text has its log's reason."""


@dataclass(frozen=True, slots=True)
class Server:
    """A gunicorn master whose workers are all ready."""

    address: tuple[str, int]
    master: int
    workers: tuple[int, ...]
    log: Path

    @property
    def host(self) -> str:
        """The address in the form of a Host header."""
        return f"{self.address[0]}:{self.address[1]}"

    def complaints(self) -> list[str]:
        """The lines of its log above INFO."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if '"level":"INFO"' not in line and '"level":"DEBUG"' not in line]


@dataclass(frozen=True, slots=True)
class ProviderProcess:
    """The provider; its counters are read without a request."""

    address: tuple[str, int]
    pid: int
    counters: Counters

    def answered(self) -> int:
        """The number of submissions that it has answered."""
        return self.counters.read()[0]


@contextmanager
def empty_resource(folder: Path, settings: Mapping[str, str]) -> Iterator[Server]:
    """The empty Falcon resource under gunicorn. Of ``settings`` it uses those that gunicorn's configuration reads."""
    with _gunicorn(folder, "empty", ["--config", "bench/empty_gunicorn.py"], settings) as server:
        yield server


@contextmanager
def service(folder: Path, settings: Mapping[str, str], provider: tuple[str, int]) -> Iterator[Server]:
    """The service as in production, with ``settings``. The URL of every gateway is the provider's."""
    shipped = (CHECKOUT / "config" / "gateways.toml").read_text(encoding="utf-8")
    gateways = folder / "gateways.toml"
    gateways.write_text(_URL.sub(rf'\1"http://{provider[0]}:{provider[1]}"', shipped), encoding="utf-8")
    with _gunicorn(folder, "service", ["wsgi:app"], {**settings, "PAYMENTS_GATEWAYS_FILE": str(gateways)}) as server:
        yield server


@contextmanager
def provider(folder: Path) -> Iterator[ProviderProcess]:
    """The bench's own provider."""
    path = folder / "counters"
    counters = Counters.create(path)
    with socket.create_server((_HOST, 0), backlog=1024) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "bench.provider", str(descriptor), str(path)]
        with process(command, folder / "provider.log", os.environ, keep=(descriptor,)) as started:
            yield ProviderProcess(listener.getsockname(), started.pid, counters)


def clean_environ(settings: Mapping[str, str]) -> dict[str, str]:
    """This environment, with ``settings`` in place of all other settings of the service and gunicorn."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PAYMENTS_", "GUNICORN_"))}
    return {**kept, **settings}


@contextmanager
def _gunicorn(folder: Path, name: str, arguments: list[str], settings: Mapping[str, str]) -> Iterator[Server]:
    with socket.create_server((_HOST, 0)) as probe:
        address = _HOST, int(probe.getsockname()[1])
    environ = clean_environ({"PAYMENTS_BIND": f"{address[0]}:{address[1]}", **settings})
    log = folder / f"{name}.log"
    with process([sys.executable, "-m", "gunicorn", *arguments], log, environ) as started:
        deadline = time.monotonic() + _READY_WITHIN_S
        while (output := log.read_bytes()).count(_READY) < int(settings["PAYMENTS_WORKERS"]):
            if started.poll() is not None or _GIVEN_UP in output or time.monotonic() > deadline:
                raise ServerError(f"{name} did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.05)
        yield Server(address, started.pid, tuple(children(started.pid)), log)


@contextmanager
def process(
    command: list[str],
    log: Path,
    environ: Mapping[str, str],
    keep: tuple[int, ...] = (),
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in ``log``, in its own process group. It ends with the block or with this process."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=keep,
            process_group=0,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has no other threads
        )
    try:
        yield started
    finally:
        started.send_signal(end)
        try:
            started.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
