"""Runs a benchmark outside of the checkout, which measures a hand-written service and this one with the same load.

That benchmark and the programs that it needs may be missing. Then the reason is printed and the rest of the bench runs.
Its folder is only read. ``make bench-tools`` installs the programs into ``var/bench-tools``; the bench itself installs
nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from bench.figures import Spread
from bench.servers import CHECKOUT, clean_environ

FOLDER: Final = CHECKOUT.parent / "shared" / "peers"
TOOLS: Final = CHECKOUT / "var" / "bench-tools"
WORKERS: Final = (1, 2)
"""Our numbers of workers. The hand-written service has two for requests and two for calls."""
HAND_WRITTEN: Final = "handmade"
OURS: Final = "ours"

_PROGRAMS: Final = ("wrk", "nginx")
_SCRIPTS: Final = ("bench.py", "ours.sh")
_SERVER: Final = "dbname=postgres"
"""That benchmark uses this machine's server, over its socket for its own database, and over 127.0.0.1 for ours."""
_SERVICE_SERVER: Final = "postgresql://postgres@127.0.0.1/postgres"
_STARTS_WITHIN_S: Final = 90
_DRAINS_WITHIN_S: Final = 170
_STOPS_WITHIN_S: Final = 60


@dataclass(slots=True)
class Beside:
    """Both services in interleaved rounds. Ours has ``workers`` workers."""

    workers: int
    results: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """One for each service and round, as that benchmark reports it."""
    failure: str = ""
    """Why there are no results, in one line."""

    def of(self, name: str, what: str) -> list[float]:
        """A value of one of the services in each round without an error."""
        return [float(one[what]) for one in self.results if one["peer"] == name and what in one]

    @property
    def ratio(self) -> float | None:
        """Our deposits per second divided by those of the hand-written service."""
        ours, theirs = self.of(OURS, "end_to_end"), self.of(HAND_WRITTEN, "end_to_end")
        return Spread.of(ours).median / Spread.of(theirs).median if ours and theirs else None

    @property
    def remarks(self) -> list[str]:
        """Why a result is missing, other than by a failure of ours."""
        errors = [f"{one['peer']}: {one['error']}" for one in self.results if "error" in one and one["peer"] != OURS]
        return [self.failure, *errors] if self.failure else errors

    @property
    def problems(self) -> list[str]:
        """What failed of ours."""
        found = []
        for one in self.results:
            if one["peer"] == OURS:
                counts = {what: one.get(what, 0) for what in ("not_2xx", "socket_errors", "unprocessed")}
                found += [f"{OURS}: {count} {what}" for what, count in counts.items() if count]
                found += [f"{OURS}: {one['error']}"] if "error" in one else []
        return found


def refusal(folder: Path) -> str:
    """The reason why the benchmark in ``folder`` cannot run here, in one line; empty if it can."""
    if not all((folder / name).is_file() for name in _SCRIPTS):
        return f"{folder} has no benchmark of other services (--peers)"
    path = _environ()["PATH"]
    if missing := [program for program in _PROGRAMS if shutil.which(program, path=path) is None]:
        return f"{' and '.join(missing)} not installed (make bench-tools)"
    if not _interpreter().is_file():
        return f"{TOOLS.relative_to(CHECKOUT)} has no virtual environment (make bench-tools)"
    if not (CHECKOUT / ".venv" / "bin" / "gunicorn").is_file():
        return "the service is not installed in .venv (make setup)"
    return _server_refusal(_SERVER) or _server_refusal(_SERVICE_SERVER)


def _server_refusal(server: str) -> str:
    try:
        with psycopg.connect(server, connect_timeout=5) as connection:
            row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = user").fetchone()
    except psycopg.Error as error:
        words = (str(error).strip() or type(error).__name__).splitlines()
        return f"this machine's PostgreSQL does not answer at {server}: {words[0]}"
    return "" if row == (True,) else f"the role of {server} is no superuser of this machine's PostgreSQL"


def beside(folder: Path, rounds: int, seconds: int, say: Callable[[str], None]) -> list[Beside]:
    """Run both services with each of our numbers of workers."""
    all_of_it = []
    for workers in WORKERS:
        one = _beside(folder, workers, rounds, seconds)
        all_of_it.append(one)
        for name in (HAND_WRITTEN, OURS):
            if rates := one.of(name, "end_to_end"):
                say(f"  {name:13} {Spread.of(rates).median:7,.0f}/s, ours with {workers} workers")
        for text in (*one.remarks, *one.problems):
            say(f"  {text}")
    return all_of_it


def _beside(folder: Path, workers: int, rounds: int, seconds: int) -> Beside:
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name:
        output, log = Path(name) / "results", Path(name) / "log"
        command = ["sh", str(folder / "ours.sh"), str(CHECKOUT), "peers", "--only", f"{HAND_WRITTEN},{OURS}"]
        command += ["--rounds", str(rounds), "--seconds", str(seconds), "--out", str(output)]
        limit_s = len((HAND_WRITTEN, OURS)) * rounds * (_STARTS_WITHIN_S + seconds + _DRAINS_WITHIN_S)
        status = _run(command, log, {**_environ(), "WORKERS": str(workers)}, limit_s)
        lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
        one = Beside(workers, [json.loads(line) for line in lines])
        if status or not lines:
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
            one.failure = f"{folder.name}: exit status {status}: {words[-1][:300]}"
        return one


def _run(command: Sequence[str], log: Path, environ: Mapping[str, str], limit_s: float) -> int:
    """The exit status. That benchmark ends its own processes when it is interrupted."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            return process.wait(limit_s)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGINT)
            status = process.wait(_STOPS_WITHIN_S)
            if isinstance(error, subprocess.TimeoutExpired):
                return status or 1
            raise


def _environ() -> dict[str, str]:
    environ = clean_environ({"BENCH_VENV": str(TOOLS / "venv"), "PYTHONDONTWRITEBYTECODE": "1"})
    environ["PATH"] = f"{environ.get('PATH', os.defpath)}:{TOOLS / 'bin'}"
    return environ


def _interpreter() -> Path:
    return TOOLS / "venv" / "bin" / "python"
