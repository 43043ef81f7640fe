"""The import rules: every forbidden import is reported, and every allowed one is accepted."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.tooling.checkout import CHECKOUT, PATIENCE_S

ROOMS: Final = ("domain", "store", "gateways", "messaging", "actors", "api", "config", "server")

# Package → the packages that it may import. setup.cfg holds the same rules for import-linter.
MAY_IMPORT: Final = {
    "domain": (),
    "store": ("domain",),
    "gateways": ("domain",),
    "messaging": ("domain", "store"),
    "actors": ("domain", "store", "gateways", "messaging"),
    "api": ("actors", "store", "domain"),
    "config": (),
    "server": ("config",),
}
KNOWN_TO: Final = {
    "pykka": ("actors",),
    "pybreaker": ("actors",),
    "falcon": ("api",),
    "marshmallow": ("api",),
    "apispec": ("api",),
    "prometheus_client": ("api",),
    "apsw": ("store",),
    "psycopg": ("store",),
    "urllib3": ("gateways",),
}


def named_modules() -> set[str]:
    """Modules that rules name, with the packages that contain them; import-linter must find them."""
    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg")
    rules = [parser[section] for section in parser.sections() if section.startswith("importlinter:contract:")]
    names = [
        name
        for rule in rules
        for key in ("source_modules", "forbidden_modules", "modules", "ancestors")
        for name in rule.get(key, "").split()
    ]
    parts = [name.split(".") for name in names if name.partition(".")[0] in ROOMS]
    return {".".join(part[:length]) for part in parts for length in range(2, len(part) + 1)}


def lint(folder: Path, imports: dict[str, tuple[str, ...]]) -> tuple[int, str]:
    """Exit status and output of import-linter over packages with the given imports."""
    for room in ROOMS:
        (folder / room).mkdir(exist_ok=True)
        (folder / room / "__init__.py").touch()
        for name in imports[room]:
            (folder / room / f"uses_{name}.py").write_text(f"import {name}\n")
    for module in sorted(named_modules()):
        place = folder / module.replace(".", "/")
        place.mkdir(exist_ok=True)
        (place / "__init__.py").touch()
    (folder / "gateways/simulator").mkdir()
    (folder / "gateways/simulator/__init__.py").write_text("import falcon\n")
    (folder / "gateways/simulator/app.py").write_text("import falcon\n")
    (folder / "setup.cfg").write_text((CHECKOUT / "setup.cfg").read_text())
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout + done.stderr


def test_allowed_imports(tmp_path: Path) -> None:
    """Imports that the table allows, and each library in its package (falcon also in the simulator), break no rule."""
    allowed = {
        room: (*MAY_IMPORT[room], *(name for name, rooms in KNOWN_TO.items() if room in rooms)) for room in ROOMS
    }
    status, output = lint(tmp_path, allowed)
    assert status == 0, output


def test_forbidden_imports(tmp_path: Path) -> None:
    """Every import that the table does not allow is reported."""
    forbidden = {
        room: (
            *(other for other in ROOMS if other != room and other not in MAY_IMPORT[room]),
            *(name for name, rooms in KNOWN_TO.items() if room not in rooms),
            *("wsgi", "tests", "cli"),
        )
        for room in ROOMS
    }
    status, output = lint(tmp_path, forbidden)
    assert status == 1, output
    missing = [
        f"{room} -> {name}"
        for room, names in forbidden.items()
        for name in names
        if f"{room}.uses_{name} -> {name} " not in output
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["threading", "time", "random", "socket", "logging"])
def test_the_domain_is_pure(tmp_path: Path, name: str) -> None:
    """The domain imports no clock, randomness, threads or I/O."""
    status, output = lint(tmp_path, {**dict.fromkeys(ROOMS, ()), "domain": (name,)})
    assert status == 1
    assert f"domain.uses_{name} -> {name} " in output


def test_a_circle_of_imports(tmp_path: Path) -> None:
    """Modules of a package that import each other are reported, also when one does so for type checking only."""
    circle = tmp_path / "actors/customer"
    circle.mkdir(parents=True)
    (circle / "one.py").write_text("import actors.customer.two\n")
    (circle / "two.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import actors.customer.one\n"
    )
    status, output = lint(tmp_path, dict.fromkeys(ROOMS, ()))
    assert status == 1
    assert "No cycles are allowed in actors.customer." in output


def test_every_room_has_a_rule() -> None:
    """Each package of the table has its own rule."""
    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg")
    for room in ROOMS:
        assert parser[f"importlinter:contract:{room}"]["source_modules"] == room
