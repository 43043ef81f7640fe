"""``python -m bench``: what it takes from the command line, the order of the measurements, and what it says of them.

Exit status 1: a request failed, an accepted deposit was not completed, or ``verify`` found something. How fast it
was decides nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import apsw

from bench import machine, report
from bench.measure import EMPTY, FIGURES, Conditions, Measured, measure
from bench.profiling import ProfileError, profile
from bench.search import CANDIDATES, best_connections
from bench.servers import CHECKOUT, ServerError

_RESULTS: Final = CHECKOUT / "bench" / "RESULTS.md"
_LIBRARIES: Final = ("falcon", "gunicorn", "gevent", "marshmallow", "pykka", "orjson", "apsw")


def main() -> int:
    """Measure, or profile, as the command line says."""
    options = _options()
    # So that every process and folder is cleaned up when this one is ended.
    signal.signal(signal.SIGTERM, lambda _signum, _frame: sys.exit(143))
    cores = machine.use_two_cores()
    if options.profile:
        figures = [options.profile]
    else:
        figures = [EMPTY, *(figure for figure in FIGURES[1:] if not options.only or figure in options.only)]
    conditions = Conditions(
        seconds=options.seconds,
        warm_up_s=min(2.0, options.seconds),
        connections=dict.fromkeys(figures, options.connections),
        customers=options.customers,
        unfinished_max=options.unfinished,
    )
    try:
        if not options.connections:
            _say("looking for the best numbers of connections")
            conditions = replace(conditions, connections=best_connections(figures, conditions, _say))
        if options.profile:
            _say(profile(options.profile, conditions))
            return 0
        return _measure(options, conditions, figures, cores)
    except (ServerError, ProfileError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"a process under measurement ended, or does not answer: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _measure(options: argparse.Namespace, conditions: Conditions, figures: Sequence[str], cores: int) -> int:
    rounds: dict[str, list[Measured]] = {figure: [] for figure in figures}
    facts = _facts(cores)
    for number in range(1, options.rounds + 1):
        _say(f"round {number} of {options.rounds}")
        for figure in figures:
            rounds[figure].append(_measure_one(figure, conditions))
    rounds[EMPTY].append(_measure_one(EMPTY, conditions))
    page = report.render(facts, conditions, rounds)
    _say(f"\n{page}")
    if options.only:
        _say(f"{_RESULTS.relative_to(CHECKOUT)} is left as it was: not all figures were measured")
    else:
        _RESULTS.write_text(page, encoding="utf-8")
    problems = report.problems(rounds)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def _measure_one(figure: str, conditions: Conditions) -> Measured:
    measured = measure(figure, conditions)
    _say(
        f"  {figure:13} {measured.rate:7,.0f}/s {measured.worker_us:6,.0f} us of CPU each,"
        f" others {measured.others_cpu:.2f} cores"
        + (f", {len(measured.problems)} problems" if measured.problems else "")
    )
    return measured


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="How fast the service is, by comparison.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each figure is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each time (default 5)")
    parser.add_argument("--only", nargs="+", choices=FIGURES[1:], help="these, and what they are compared with")
    parser.add_argument(
        "--connections", type=int, default=0, help="clients; 0 (the default) looks for each side's best"
    )
    parser.add_argument("--customers", type=int, default=10_000, help="different ones (default 10000)")
    parser.add_argument("--unfinished", type=int, default=256, help="accepted, not completed, at most (default 256)")
    parser.add_argument("--profile", choices=FIGURES, help="where the time goes, instead")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 1 or options.customers < 1:
        parser.error("--rounds, --seconds and --customers are at least 1")
    if options.connections < 0 or options.unfinished < max(CANDIDATES) or options.unfinished < options.connections:
        parser.error(f"--unfinished is at least {max(CANDIDATES)}, and at least --connections")
    return options


def _facts(cores: int) -> Mapping[str, str]:
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as name:
        disk = f"{machine.file_system(Path(name))}, a page on it after {machine.sync_ms(Path(name)):.2f} ms (median)"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": _commit(),
        "machine": f"{machine.processor()}, {cores} cores of {os.cpu_count()} used; {platform.system()};"
        f" database on {disk}",
        "software": f"Python {platform.python_version()}, {libraries}, SQLite {apsw.sqlite_lib_version()}",
        "service": "SQLite, 1 worker, settings and gateways file as shipped but for addresses; log lines at INFO, as"
        " JSON, into a file",
    }


def _commit() -> str:
    git = shutil.which("git")
    if git is None or not (CHECKOUT / ".git").exists():
        return "unknown"

    def said(*arguments: str) -> str:
        done = subprocess.run([git, *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    # The page itself may lie there, changed by the run before.
    changed = [line for line in said("status", "--porcelain").splitlines() if not line.endswith(_RESULTS.name)]
    commit = said("rev-parse", "--verify", "--short=12", "HEAD") or "none"
    return f"{commit}, with changes" if changed else commit


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
