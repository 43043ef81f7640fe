"""The routes of the OpenAPI document, each with a valid request. A test changes one part, which alone is wrong then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.api.support import Api
from tests.api.world import World

DOCUMENT: Final[dict[str, Any]] = Api(World()).document
_NAME: Final = re.compile(r"\{([a-z_]+)\}")
_JSON: Final = "application/json"


@dataclass(frozen=True)
class Route:
    """One operation of the document."""

    template: str
    method: str
    operation: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The names in its path."""
        return _NAME.findall(self.template)

    def path(self, ids: Mapping[str, str]) -> str:
        """Its path with ``ids`` for the names."""
        return self.template.format_map(ids)

    @property
    def body(self) -> dict[str, Any] | None:
        """A good body; None where the document has none."""
        if "requestBody" not in self.operation:
            return None
        examples = [it["value"] for it in self.operation["requestBody"]["content"][_JSON]["examples"].values()]
        fullest: dict[str, Any] = max(examples, key=len)
        return fullest

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """The fields that its body accepts."""
        if "requestBody" not in self.operation:
            return {}
        reference: str = self.operation["requestBody"]["content"][_JSON]["schema"]["$ref"]
        return DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]["properties"]  # type: ignore[no-any-return]

    @property
    def required(self) -> list[str]:
        """The fields that its body requires."""
        if "requestBody" not in self.operation:
            return []
        reference: str = self.operation["requestBody"]["content"][_JSON]["schema"]["$ref"]
        names: list[str] = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]].get("required", [])
        return names

    def parameters(self, place: str) -> list[str]:
        """The names of its parameters in ``place``: ``query`` or ``header``."""
        return [it["name"] for it in self.operation["parameters"] if it["in"] == place]

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


ROUTES: Final = [
    Route(template, method.upper(), operation)
    for template, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]
