"""The record of one run: what client, provider and store observed. The checker reads only this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class History:
    """Entries in the order of their occurrence; each is a JSON object with ``what`` and virtual time ``at``."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, what: str, at: float, **fields: Any) -> None:
        """Record that ``what`` happened."""
        self.entries.append({"what": what, "at": round(at, 6), **fields})

    def of(self, what: str) -> list[Mapping[str, Any]]:
        """All entries of one kind, in order."""
        return [entry for entry in self.entries if entry["what"] == what]

    def to_bytes(self) -> bytes:
        """One JSON line for each entry: the same seed must give the same bytes."""
        return b"".join(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) + b"\n" for entry in self.entries)
