"""The adapter's named queries, read once from ``queries.sql``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from store.named_queries import load_queries
from store.postgresql.rows import DIALECT

SQL: Final[Mapping[str, str]] = load_queries(Path(__file__).with_name("queries.sql"), DIALECT)
