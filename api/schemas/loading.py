"""A quick reader for the bodies and queries of requests, made from the fields of their schemas.

It reads valid input only. Any other input goes to marshmallow, which makes the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from marshmallow import Schema, ValidationError, fields, missing

from api.fields import Value


class _Member(NamedTuple):
    """How a field of a schema is read. ``default``: a value, a function that makes it, or ``missing``."""

    name: str
    read: Callable[[Any], Any]
    required: bool
    default: Any


class RequestSchema(Schema):
    """A schema of plain fields: no hooks, no other names than the attributes'.

    ``load`` has the results and errors of marshmallow, which ``tests/api/test_loading.py`` compares for every schema.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._members = [
            _Member(name, _reader(field), field.required, field.load_default)
            for name, field in self.load_fields.items()
        ]

    def load(self, data: Any, **options: Any) -> Any:
        """Load ``data``, a mapping. Raises ValidationError."""
        if not options:
            loaded = self._loaded(data)
            if loaded is not None:
                return loaded
        return super().load(data, **options)

    def _loaded(self, data: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values in ``data`` and the defaults; None when a value is missing, null, wrong or unknown."""
        loaded: dict[str, Any] = {}
        unread = len(data)
        try:
            for name, read, required, default in self._members:
                value = data.get(name, missing)
                if value is missing:
                    if required:
                        return None
                    if default is not missing:
                        loaded[name] = default() if callable(default) else default
                elif value is None:
                    return None
                else:
                    loaded[name] = read(value)
                    unread -= 1
        except ValidationError:
            return None
        return None if unread else loaded


def _reader(field: fields.Field[Any]) -> Callable[[Any], Any]:
    return field.reader if isinstance(field, Value) else field.deserialize
