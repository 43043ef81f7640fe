"""Reads ``.sql`` files of named queries. Has no part of any database.

A query begins with ``-- name: its_name``. Comment lines with a sentence on its purpose follow, then the statement. It
ends with a semicolon at the end of a line. A fragment begins with ``-- fragment: its_name``, ends in the same way, and
replaces ``{its_name}`` in the queries of its file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from store.dialect import Dialect

_BEGIN: Final = re.compile(r"^-- (name|fragment): ", re.MULTILINE)


def load_queries(path: Path, dialect: Dialect) -> Mapping[str, str]:
    """The queries of the file by name, expanded, without comments. Raises ValueError when the layout is another."""
    blocks: dict[str, dict[str, str]] = {"name": {}, "fragment": {}}
    _, *texts = _BEGIN.split(path.read_text(encoding="utf-8"))
    for kind, block in zip(texts[::2], texts[1::2], strict=True):
        name, _, rest = block.partition("\n")
        lines = rest.splitlines()
        sentence = [line for line in lines if line.startswith("--")]
        sql = "\n".join(line for line in lines if line.strip() and not line.startswith("--"))
        known = name in blocks["name"] or name in blocks["fragment"]
        if not name.isidentifier() or known or not sentence or not sql.endswith(";") or ";" in sql[:-1]:
            raise ValueError(f"{path}: {name!r} is not a unique name, a sentence and one statement")
        blocks[kind][name] = sql.removesuffix(";")
    try:
        queries = {name: dialect.expand(sql, blocks["fragment"]) for name, sql in blocks["name"].items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return MappingProxyType(queries)
