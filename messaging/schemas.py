"""The JSON Schema (draft 2020-12) of each event type's data, generated from the types that the code writes.

A schema permits members that it does not name, because later versions of the service may add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from domain.events import EVENT_TYPES
from messaging.cloud_events import Data, schema_path
from store.event_types import DATA_TYPES

Schema = dict[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/"


def documents(public_url: str) -> Mapping[str, bytes]:
    """The schemas as JSON, by the names of their files; their ids begin with ``public_url``."""
    return {schema_path(name).rpartition("/")[2]: orjson.dumps(schema_of(name, public_url)) for name in EVENT_TYPES}


def schema_of(name: str, public_url: str) -> Schema:
    """The schema of the data of events that are stored as ``name``."""
    return {"$schema": _DRAFT, "$id": public_url + schema_path(name), "title": name, **data_schema(name)}


def data_schema(name: str) -> Schema:
    """The same without what belongs to a document of its own."""
    _, kind = EVENT_TYPES[name]
    data_type = DATA_TYPES[EVENT_TYPES[name]]
    (outer, inner), components = msgspec.json.schema_components([Data, data_type], ref_template=_REFERENCE + "{name}")
    schema: Schema = _inlined(outer, components)
    data = _inlined(inner, components)
    event, transaction = (schema["properties"][member] for member in ("event", "transaction"))
    event["properties"] |= {"type": {"const": name}, "data": data}
    schema["description"] = data["description"]
    if kind is not None:
        # The null is for events without a transaction.
        (facts,) = [one for one in transaction["anyOf"] if one.get("type") == "object"]
        facts["properties"]["type"] = {"const": kind.value}
        schema["properties"]["transaction"] = facts
    return schema


def _inlined(schema: Any, components: Mapping[str, Schema]) -> Any:  # noqa: ANN401  # any part of a schema
    """``schema`` with its components in place of the references, and without the titles of types."""
    if isinstance(schema, list):
        return [_inlined(one, components) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        referred = components[schema["$ref"].removeprefix(_REFERENCE)]
        return _inlined({**referred, **{key: it for key, it in schema.items() if key != "$ref"}}, components)
    # A property of that name has a schema, not a text.
    return {key: _inlined(it, components) for key, it in schema.items() if key != "title" or not isinstance(it, str)}
