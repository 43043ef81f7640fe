"""deploy/image.sh with a Docker program that records its arguments; ``make image-test`` tests the image."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tooling.checkout import CHECKOUT, PATIENCE_S

SCRIPT = CHECKOUT / "deploy/image.sh"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with only the programs that the script needs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("bash", "dirname", "id", "sed", "awk"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def with_docker(programs: Path, *, answers: bool) -> None:
    """Install a Docker stub with an engine that answers or fails."""
    docker = programs / "docker"
    status = 0 if answers else 1
    docker.write_text(f'#!/usr/bin/env bash\n[ "$1" = info ] && exit {status}\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)


def run(programs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script with only these programs."""
    return subprocess.run(
        ["bash", SCRIPT, *arguments],
        env={"PATH": str(programs), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_docker_is_used_when_its_engine_answers(programs: Path) -> None:
    """With a Docker engine no other tool is needed, and the image is built from the checkout."""
    with_docker(programs, answers=True)
    assert run(programs, "reason").stdout == ""
    assert run(programs, "build").stdout.splitlines() == ["build", "--tag", "payments:dev", str(CHECKOUT)]
    assert "nothing else is needed" in run(programs, "tools").stdout


def test_a_container_gets_its_flags_and_command(programs: Path) -> None:
    """Docker gets the flags and the container its command, without capabilities and with a read-only root."""
    with_docker(programs, answers=True)
    words = run(programs, "run", "--env=A=b c", "--volume=/d:/app/var", "--", "python", "manage.py").stdout.splitlines()
    assert words[0] == "run"
    assert {"--read-only", "--cap-drop", "ALL", "no-new-privileges:true"} <= set(words)
    assert words[-5:] == ["--env=A=b c", "--volume=/d:/app/var", "payments:dev", "python", "manage.py"]
    assert run(programs, "run", "--").stdout.splitlines()[-1] == "payments:dev"


@pytest.mark.parametrize("docker", [True, False])
def test_a_missing_engine_is_reported(programs: Path, *, docker: bool) -> None:
    """Without Docker and buildah one line reports this with the remedy, and nothing is installed."""
    if docker:
        with_docker(programs, answers=False)
    done = run(programs, "build")
    assert done.returncode == 1
    assert done.stderr.startswith("deploy/image.sh: no Docker engine answers, and there is no buildah in its place")
    assert "make image-tools" in done.stderr
    assert run(programs, "reason").stdout in done.stderr
    assert "as root; elsewhere use Docker" in run(programs, "tools").stderr


def test_help(programs: Path) -> None:
    """Without a command, the script lists its commands."""
    done = run(programs)
    assert done.returncode == 2
    assert all(f"deploy/image.sh {command}" in done.stderr for command in ("tools", "reason", "build", "run"))


def test_the_targets_of_make() -> None:
    """``make image-test`` sets up the environment and builds the image before the test."""
    done = subprocess.run(
        ["make", "--dry-run", "image-test"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("deploy/image.sh build") < done.stdout.index("-m tests.tooling.image")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck() -> None:
    """The script causes no warnings of shellcheck."""
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
