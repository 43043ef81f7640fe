"""Whether consumers of one JSON Schema can read what is written under another one.

A change is compatible when everything that the new schema permits was permitted before, apart from new members, and no
named member disappears. A keyword that this module does not know is compatible only while it does not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

_TEXTS: Final = frozenset({"$schema", "$id", "title", "description"})
_OBJECT: Final = frozenset({"properties", "required", "additionalProperties"})
_VALUES: Final = frozenset({"type", "const", "enum"})
_LOWER: Final = frozenset({"minimum", "minLength"})
_TYPES: Final = {"string": str, "integer": int, "boolean": bool}


def incompatibilities(old: Schema, new: Schema, at: str = "") -> Iterator[str]:
    """The changes from ``old`` to ``new`` that break a consumer of ``old``, one sentence each."""
    olds, news = _branches(old), _branches(new)
    if len(olds) > 1 or len(news) > 1:
        for one in news:
            if not any(not [*incompatibilities(other, one, at)] for other in olds):
                yield f"{_name(at)} may now be {one.get('type', one)}"
        return
    old, new = olds[0], news[0]
    if not _are_values_known(old, new):
        yield f"{_name(at)} may have other values or types than before"
    for keyword in sorted((old.keys() | new.keys()) - _TEXTS - _OBJECT - _VALUES):
        if not _is_narrower(keyword, old.get(keyword), new.get(keyword)):
            yield f"{_name(at)} has another {keyword} than before"
    yield from _changed_members(old, new, at)


def _changed_members(old: Schema, new: Schema, at: str) -> Iterator[str]:
    properties: Schema = new.get("properties", {})
    for name, schema in old.get("properties", {}).items():
        if name in properties:
            yield from incompatibilities(schema, properties[name], f"{at}/{name}")
        else:
            yield f"{_name(at)} has no member {name} any more"
    for name in sorted({*old.get("required", ())} - {*new.get("required", ())}):
        if name in properties:
            yield f"{_name(at)} may lack the member {name}"
    if "additionalProperties" in old:
        if isinstance(old["additionalProperties"], dict) and isinstance(new.get("additionalProperties"), dict):
            yield from incompatibilities(old["additionalProperties"], new["additionalProperties"], f"{at}/*")
        elif old["additionalProperties"] != new.get("additionalProperties"):
            yield f"{_name(at)} may have other members than before"


def _branches(schema: Schema) -> list[Schema]:
    if "anyOf" not in schema:
        return [schema]
    return [inner for one in schema["anyOf"] for inner in _branches(one)]


def _are_values_known(old: Schema, new: Schema) -> bool:
    before, now = _values(old), _values(new)
    if before is not None:
        return now is not None and all(value in before for value in now)
    if now is not None and old.get("type") in _TYPES:
        return all(isinstance(value, _TYPES[old["type"]]) for value in now)
    return old.get("type") in (None, new.get("type"))


def _values(schema: Schema) -> list[object] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _is_narrower(keyword: str, old: Any, new: Any) -> bool:
    if old is None or old == new:
        return True
    return keyword in _LOWER and new is not None and bool(new > old)


def _name(at: str) -> str:
    return at or "the data"
