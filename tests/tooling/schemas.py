"""The schemas of events as of the last version in the changelog, and what has become of them since.

``docs/schemas`` holds them, one file for each event type; there is none before the first version. ``python -m
tests.tooling.schemas release`` writes them when the changelog gets a new version; ``… check`` compares them with the
schemas that the code generates now.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from domain.events import EVENT_TYPES
from messaging.schemas import schema_of
from tests.tooling.checkout import CHECKOUT
from tests.tooling.compatibility import incompatibilities

Schemas = Mapping[str, dict[str, Any]]

FOLDER: Final = "docs/schemas"
CHANGELOG: Final = "CHANGELOG.md"
_VERSION_FILE: Final = "VERSION"
_SUFFIX: Final = ".v1.json"
_VERSION: Final = re.compile(r"^## \[?(\d+\.\d+\.\d+)\b", re.MULTILINE)


def generated() -> Schemas:
    """The schemas of the code, by event type."""
    return {name: schema_of(name, "") for name in EVENT_TYPES}


def last_version(changelog: str) -> str | None:
    """The newest version in the changelog; None while everything is unreleased."""
    found = _VERSION.search(changelog)
    return found and found[1]


def recorded_version(checkout: Path) -> str | None:
    """The version whose schemas are on record; None when there are none."""
    file = checkout / FOLDER / _VERSION_FILE
    return file.read_text().strip() if file.exists() else None


def released(checkout: Path) -> Schemas:
    """The schemas on record, by event type."""
    files = sorted((checkout / FOLDER).glob(f"*{_SUFFIX}"))
    return {file.name.removesuffix(_SUFFIX): orjson.loads(file.read_bytes()) for file in files}


def broken(checkout: Path, present: Schemas) -> Iterator[str]:
    """How ``present`` breaks consumers of the released schemas, one sentence each."""
    for name, schema in released(checkout).items():
        if name not in present:
            yield f"{name}: the event type was released and does not exist any more"
        else:
            yield from (f"{name}: {change}" for change in incompatibilities(schema, present[name]))


def problems(checkout: Path, present: Schemas) -> list[str]:
    """What is wrong with ``present`` or with the record, one sentence each."""
    version, recorded = last_version((checkout / CHANGELOG).read_text()), recorded_version(checkout)
    found = [*broken(checkout, present)]
    if version != recorded:
        found.append(
            f"{FOLDER} holds the schemas of {recorded or 'no version'}, and the last version of {CHANGELOG} is"
            f" {version or 'none'}: run python -m tests.tooling.schemas release"
        )
    return found


def release(checkout: Path, present: Schemas) -> list[str]:
    """Record ``present`` as the schemas of the changelog's last version; return the problems that prevent it."""
    version = last_version((checkout / CHANGELOG).read_text())
    if version is None:
        return [f"{CHANGELOG} has no version yet"]
    found = [*broken(checkout, present)]
    if found:
        return found
    folder = checkout / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in present.items():
        (folder / f"{name}{_SUFFIX}").write_bytes(
            orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
    (folder / _VERSION_FILE).write_text(f"{version}\n")
    return []


def main(arguments: list[str]) -> int:
    """Run ``release`` or ``check``; return 1 when a schema does not fit."""
    commands = {"release": release, "check": problems}
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.stderr.write("usage: python -m tests.tooling.schemas release|check\n")
        return 2
    found = commands[arguments[0]](CHECKOUT, generated())
    sys.stdout.write("".join(f"{problem}\n" for problem in found) or "the schemas of events fit the released ones\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
