"""Reads ``.sql`` files of named queries. Knows the layout of such a file and nothing of any database.

A query begins with ``-- name: its_name``, goes on with comment lines that say in a sentence what it is for, and ends
with a semicolon at the end of a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

_NAME: Final = "-- name: "


def load_queries(path: Path) -> Mapping[str, str]:
    """The queries of the file by their names, without comments. Raises ValueError for a file of another layout."""
    queries: dict[str, str] = {}
    for block in path.read_text(encoding="utf-8").split(f"\n{_NAME}")[1:]:
        name, _, rest = block.partition("\n")
        lines = rest.splitlines()
        sentence = [line for line in lines if line.startswith("--")]
        sql = "\n".join(line for line in lines if line.strip() and not line.startswith("--"))
        if not name.isidentifier() or name in queries or not sentence or not sql.endswith(";") or ";" in sql[:-1]:
            raise ValueError(f"{path}: the query {name!r} is not a unique name, a sentence and one statement")
        queries[name] = sql.removesuffix(";")
    return MappingProxyType(queries)
