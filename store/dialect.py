"""How an adapter's SQL and driver differ from the other's: placeholders of column lists in SQL, and values by type.

A placeholder stands in braces: ``{columns of transactions as t}``. It is expanded once, when the SQL is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from store.columns import TABLES, Column, Table, Type

_PLACEHOLDER: Final = re.compile(r"\{(\w+)(?: of (\w+)(?: as (\w+))?)?\}")
_PLAIN: Final = "{0}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The differences of one adapter."""

    selected: Mapping[Type, str]
    """By type: the SQL that a select has for the column ``{0}``, if that is not the column itself."""
    item: Callable[[int, Column], str]
    """The SQL of a value to insert, by the column's place and declaration."""
    record: Mapping[Type, str]
    """By type: the SQL type of values to insert. Empty where values carry their type."""
    read: Mapping[Type, Callable[[Any], Any]]
    """By type: what makes the domain value of the driver's value."""
    write: Mapping[Type, Callable[[Any], Any]]
    """The reverse."""

    def expand(self, text: str, fragments: Mapping[str, str] | None = None) -> str:
        """``text`` with its placeholders replaced.

        ``{name}`` is the fragment of that name. With ``of TABLE`` it is a list of the table's columns:

        - ``columns``: for SELECT;
        - ``names``: the bare names, for INSERT and RETURNING;
        - ``items``: the values for INSERT;
        - ``record``: names and SQL types, for a column definition list;
        - ``changes``: the assignments of ON CONFLICT DO UPDATE.

        ``as ALIAS`` qualifies the columns. Raises ValueError for an unknown placeholder.
        """

        def replacement(match: re.Match[str]) -> str:
            what, table, alias = match.groups()
            try:
                if table is None:
                    return (fragments or {})[what]
                return self._list(what, TABLES[table], f"{alias}." if alias else "")
            except KeyError:
                raise ValueError(f"the placeholder {match[0]} is unknown") from None

        return _PLACEHOLDER.sub(replacement, text)

    def _list(self, what: str, table: Table[Any], prefix: str) -> str:
        columns = table.columns
        match what:
            case "columns":
                parts = [self.selected.get(one.type, _PLAIN).format(prefix + one.name) for one in columns]
            case "names":
                parts = [prefix + one.name for one in columns]
            case "items":
                parts = [self.item(place, one) for place, one in enumerate(columns)]
            case "record":
                parts = [f"{one.name} {self.record[one.type]}" for one in columns]
            case "changes":
                parts = [f"{one.name} = excluded.{one.name}" for one in columns if one.changes]
            case _:
                raise KeyError(what)
        return ", ".join(parts)
