"""The commands of the Makefile: all documented ones exist, and a missing program is reported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tooling.checkout import CHECKOUT, PATIENCE_S

TARGETS = ("setup", "run", "test", "check", "bench", "simulate", "mutants", "lock", "clean")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Path:
    """A checkout in which nothing has been set up."""
    for name in ("Makefile", "requirements-dev.txt"):
        shutil.copy(CHECKOUT / name, tmp_path)
    return tmp_path


def fake_python(folder: Path, program: str) -> str:
    """An interpreter that runs the shell program for ``-c``."""
    path = folder / "fake-python"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return str(path)


def test_help() -> None:
    """``make`` alone lists every command with one line of explanation."""
    done = make(CHECKOUT)
    listed = re.findall(r"^make ([a-z]+) +\S", done.stdout, re.MULTILINE)
    assert done.returncode == 0
    assert set(TARGETS) <= set(listed)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("run",), ".venv/bin/python manage.py dev"),
        (("test",), ".venv/bin/python -m tests.tooling.suite"),
        (("test", "WORKERS=2"), ".venv/bin/python -m tests.tooling.suite --workers 2"),
        (("test", "TESTS=tests/api"), ".venv/bin/python -m pytest -n 3 tests/api"),
        (("bench",), ".venv/bin/python -m bench --peers ../shared/peers"),
        (("bench-scale",), ".venv/bin/python -m bench --scale"),
        (("simulate",), ".venv/bin/python -m tests.simulation --seeds 200 --first 1"),
        (("simulate", "SEEDS=3", "FIRST=7"), ".venv/bin/python -m tests.simulation --seeds 3 --first 7"),
        (("mutants",), '.venv/bin/python -m tests.mutants --jobs 2 --only ""'),
        (
            ("mutants", "ONLY=settling permit", "JOBS=1", "REPORT=page.md"),
            '.venv/bin/python -m tests.mutants --jobs 1 --only "settling permit" --report page.md',
        ),
    ],
)
def test_commands_set_up_first(fresh_clone: Path, arguments: tuple[str, ...], command: str) -> None:
    """Each command first sets up a fresh clone and then runs in the virtual environment."""
    done = make(fresh_clone, "--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("-m venv --clear .venv") < done.stdout.index(command)
    assert "--require-hashes --requirement requirements-dev.txt" in done.stdout


def test_setting_up_twice_does_nothing(fresh_clone: Path) -> None:
    """With an environment newer than the lock file, setup does and prints nothing."""
    python = fresh_clone / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (fresh_clone / ".venv/installed").touch()
    done = make(fresh_clone, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_old_python(fresh_clone: Path) -> None:
    """A Python before 3.11 is refused with one line that names it."""
    done = make(fresh_clone, "setup", f"PYTHON3={fake_python(fresh_clone, 'exit 1')}")
    assert done.returncode != 0
    assert done.stderr.startswith("make setup: needs Python 3.11 or newer")
    assert not (fresh_clone / ".venv").exists()


def test_a_python_without_venv(fresh_clone: Path) -> None:
    """When the system's Python lacks venv, the message names the package to install."""
    done = make(fresh_clone, "setup", f"PYTHON3={fake_python(fresh_clone, 'case $2 in *ensurepip*) exit 1;; esac')}")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not (fresh_clone / ".venv").exists()


@pytest.mark.parametrize(("ci", "status", "made"), [("true", 1, []), ("", 0, ["test", "check"])])
def test_continuous_integration_tests_the_alerts(tmp_path: Path, ci: str, status: int, made: list[str]) -> None:
    """Without promtool continuous integration fails, and a developer's run continues."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(CHECKOUT / ".ci/run", tmp_path / ".ci/run")
    programs = {
        "deploy/image.sh": "",
        "bin/id": "echo 0",
        "bin/apt-get": "",
        "bin/make": f'case $1 in monitoring-tools) exit 1;; asyncapi-tools) ;; *) echo "$1" >> {tmp_path}/made;; esac',
    }
    for name, text in programs.items():
        program = tmp_path / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [tmp_path / ".ci/run"],
        env={**os.environ, "PATH": path, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "make monitoring-tools failed" in done.stdout
    reached = tmp_path / "made"
    assert (reached.read_text().split() if reached.exists() else [])[:2] == made


def test_continuous_integration_runs_what_developers_run() -> None:
    """The CI script ends at the first failure and runs the tests and the checks."""
    script = (CHECKOUT / ".ci/run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script
    assert "for target in test check" in script
