"""Checks the lock files against setup.cfg, without network.

One line in each lock file holds a digest of the requirements that it was made from. This module owns that line, and
never chooses a version. ``python -m tests.tooling.lockfile stamp`` writes the line after pip-compile; ``… check``
verifies everything.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT: Final = Path(__file__).resolve().parents[2]
RUNTIME_LOCK: Final = "requirements.txt"
DEV_LOCK: Final = "requirements-dev.txt"

_DIGEST_LINE: Final = "# made from requirements with SHA-256 "
_PIN: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)\s*(;[^\\]*)?\\?")
_HASH: Final = re.compile(r"\s+--hash=sha256:[0-9a-f]{64}\s*\\?")
_FORBIDDEN: Final = re.compile(r"/|^\s*(-i|-f|--index|--extra-index|--find-links|--trusted)", re.MULTILINE)


@dataclass(slots=True)
class Lock:
    """Content of a lock file: versions by canonical name, names without a hash, and the digest of its requirements."""

    versions: dict[str, str] = field(default_factory=dict)
    unhashed: set[str] = field(default_factory=set)
    digest: str = ""
    strange_lines: list[str] = field(default_factory=list)


def requirements(setup_cfg: str, *, dev: bool) -> list[Requirement]:
    """The requirements of a lock file: those of the service and, with ``dev``, those of development."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(setup_cfg)
    lists = parser["options"]["install_requires"]
    if dev:
        lists += "\n" + parser["options.extras_require"]["dev"]
    return [Requirement(line) for line in lists.splitlines() if line.strip() and not line.strip().startswith("#")]


def digest_of(wanted: list[Requirement]) -> str:
    """A digest that depends on every requirement, but not on order, spacing or comments."""
    return hashlib.sha256("\n".join(sorted(map(str, wanted))).encode()).hexdigest()


def parse_lock(text: str) -> Lock:
    """Read a lock file as pip-compile writes it."""
    lock = Lock()
    name = ""
    for line in text.splitlines():
        if line.startswith(_DIGEST_LINE):
            lock.digest = line.removeprefix(_DIGEST_LINE)
        elif not line.strip() or line.lstrip().startswith("#"):
            continue
        elif pin := _PIN.fullmatch(line.rstrip()):
            name = canonicalize_name(pin["name"])
            lock.versions[name] = pin["version"]
            lock.unhashed.add(name)
        elif _HASH.fullmatch(line):
            lock.unhashed.discard(name)
        else:
            lock.strange_lines.append(line)
    return lock


def problems_of(name: str, text: str, wanted: list[Requirement]) -> list[str]:
    """The problems of the lock file ``name``, one sentence each; empty when it fits."""
    lock = parse_lock(text)
    problems = [f"{name}: {line.strip()!r} is no pinned requirement" for line in lock.strange_lines]
    problems += [f"{name}: {package} has no hash" for package in sorted(lock.unhashed)]
    if _FORBIDDEN.search(text):
        problems.append(f"{name} names an index or a local path")
    for requirement in wanted:
        version = lock.versions.get(canonicalize_name(requirement.name))
        if version is None:
            problems.append(f"{name} lacks {requirement.name}")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{name} has {requirement.name} {version}, and setup.cfg requires {requirement.specifier}")
    if lock.digest != digest_of(wanted):
        problems.append(f"{name} was made from other requirements than setup.cfg has now: run make lock")
    return problems


def check(folder: Path) -> list[str]:
    """All problems of the two lock files of ``folder``."""
    setup_cfg = (folder / "setup.cfg").read_text()
    runtime, dev = (folder / RUNTIME_LOCK).read_text(), (folder / DEV_LOCK).read_text()
    problems = problems_of(RUNTIME_LOCK, runtime, requirements(setup_cfg, dev=False))
    problems += problems_of(DEV_LOCK, dev, requirements(setup_cfg, dev=True))
    tested = parse_lock(dev).versions
    for package, version in parse_lock(runtime).versions.items():
        if tested.get(package) != version:
            problems.append(
                f"the service runs {package} {version}, but the tests run {tested.get(package, 'no version')}"
            )
    return problems


def stamp(folder: Path) -> None:
    """Write the digest of its requirements into each lock file."""
    setup_cfg = (folder / "setup.cfg").read_text()
    for name, dev in ((RUNTIME_LOCK, False), (DEV_LOCK, True)):
        path = folder / name
        lines = [line for line in path.read_text().splitlines() if not line.startswith(_DIGEST_LINE)]
        lines.insert(0, _DIGEST_LINE + digest_of(requirements(setup_cfg, dev=dev)))
        path.write_text("\n".join(lines) + "\n")


def main(arguments: list[str]) -> int:
    """Run ``stamp`` or ``check``; return 1 when a lock file does not fit."""
    if arguments == ["stamp"]:
        stamp(CHECKOUT)
        return 0
    if arguments != ["check"]:
        sys.stderr.write("usage: python -m tests.tooling.lockfile stamp|check\n")
        return 2
    problems = check(CHECKOUT)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems) or "lock files fit setup.cfg\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
