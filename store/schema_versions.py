"""Migrations as numbered scripts, and the rule of which versions of the tables fit; the same for all adapters.

Migrations are the files ``migrations/NNNN_title.sql`` of an adapter. The number of the last one applied is the version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from store.errors import SchemaError


class MigrationResult(NamedTuple):
    """What a migration of a database did."""

    applied: Sequence[int]
    """The numbers of the migrations applied, ascending."""
    functions_defined: bool = False
    """Whether it defined the functions of this version, which were missing or different."""


def read_migrations(folder: Path) -> dict[int, str]:
    """Return the scripts by their numbers. Raises SchemaError unless these are 1, 2, 3 and so on."""
    scripts = {int(file.name[:4]): file.read_text(encoding="utf-8") for file in sorted(folder.glob("[0-9]*.sql"))}
    if list(scripts) != list(range(1, len(scripts) + 1)):
        raise SchemaError(f"the migrations in {folder.name} are not numbered 1, 2, 3 and so on: {list(scripts)}")
    return scripts


def refuse_newer(version: int, scripts: Mapping[int, str]) -> None:
    """Raise SchemaError when the tables are newer than the scripts."""
    if version > len(scripts):
        raise SchemaError(f"the database is at schema version {version}, newer than this service's {len(scripts)}")


def refuse_older(version: int, scripts: Mapping[int, str]) -> None:
    """Raise SchemaError when scripts are missing in the database."""
    if version < len(scripts):
        raise SchemaError(f"the database is at schema version {version}, this service needs {len(scripts)}: migrate")
