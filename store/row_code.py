"""Functions between rows and domain objects, made from a table's list of columns when the service starts.

They are generated as source and compiled, as ``dataclasses`` does it: reading and writing rows is on the path of every
deposit, and code with fixed positions is faster than any loop over columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import Enum, EnumType
from typing import Any, Final, TypeVar

from store.columns import Column, Nested, Table, Type
from store.errors import CorruptStoreError

T = TypeVar("T")

Row = tuple[Any, ...]
"""A row as the driver returns it."""

UNREADABLE: Final = (ValueError, TypeError, OverflowError, KeyError)
"""What a damaged value raises when it is read."""


def compile_reader(table: Table[T], read: Mapping[Type, Callable[[Any], Any]]) -> Callable[[Sequence[Any]], T]:
    """A function that makes an object of the columns at the beginning of a row. It raises CorruptStoreError."""
    code = _Reader(table, read)
    source = f"""
def read_{table.name}(row):
    try:
        return cls({code.arguments()})
    except UNREADABLE as error:
        raise CorruptStoreError(f"the row of {table.row_name} {{row[0]!r}} cannot be read: {{error}}") from error
"""
    names = {"cls": table.cls, "UNREADABLE": UNREADABLE, "CorruptStoreError": CorruptStoreError}
    function: Callable[[Sequence[Any]], T] = _compiled(f"read_{table.name}", source, names | code.names)
    return function


def compile_row_writer(table: Table[T], write: Mapping[Type, Callable[[Any], Any]]) -> Callable[[str, str, T], Row]:
    """A function of a stream's name and id and an object that returns the values of all columns, in order."""
    code = _Writer(table, write)
    values = ", ".join(code.value(column) for column in table.columns)
    source = f"""
def write_{table.name}(stream_name, stream_id, it):
{code.nested()}    return ({values})
"""
    function: Callable[[str, str, T], Row] = _compiled(f"write_{table.name}", source, code.names)
    return function


def compile_record_writer(
    table: Table[T], write: Mapping[Type, Callable[[Any], Any]]
) -> Callable[[int, str, str, T], dict[str, object]]:
    """The same as a record by the columns' names. The first argument is the number of the write that it belongs to."""
    code = _Writer(table, write)
    pairs = ", ".join(f'"{column.name}": {code.value(column)}' for column in table.columns)
    source = f"""
def write_{table.name}(write, stream_name, stream_id, it):
{code.nested()}    return {{"write": write, {pairs}}}
"""
    function: Callable[[int, str, str, T], dict[str, object]] = _compiled(f"write_{table.name}", source, code.names)
    return function


def compile_flat_writer(
    table: Table[T], write: Mapping[Type, Callable[[Any], Any]], groups: Sequence[Sequence[Column]]
) -> Callable[..., None]:
    """A function of a list for each of ``groups``, and an object. It adds the values of each group to its list."""
    code = _Writer(table, write)
    lists = [f"list_{number}" for number in range(len(groups))]
    added = "".join(
        f"    {name} += ({''.join(f'{code.value(column)}, ' for column in group)})\n"
        for name, group in zip(lists, groups, strict=True)
    )
    source = f"""
def add_{table.name}({", ".join(lists)}, it):
{code.nested()}{added}"""
    function: Callable[..., None] = _compiled(f"add_{table.name}", source, code.names)
    return function


class Members(dict[Any, Enum]):
    """The members of an enumeration by their values: several times faster than a call of it, with the same error."""

    def __init__(self, enum: EnumType) -> None:
        members: Iterable[Enum] = enum
        super().__init__((member.value, member) for member in members)
        self._enum = enum

    def __missing__(self, value: object) -> Enum:
        """Raise the enumeration's ValueError."""
        member: Enum = self._enum(value)
        return member


class _Reader:
    """The arguments of a domain object, each as an expression over ``row``."""

    def __init__(self, table: Table[Any], read: Mapping[Type, Callable[[Any], Any]]) -> None:
        self._read = read
        self._nested = table.nested
        self._by_path = {column.path: (place, column) for place, column in enumerate(table.columns)}
        self._fields = tuple(one.name for one in fields(table.cls))
        self.names: dict[str, object] = {}
        strangers = {path.partition(".")[0] for path in self._by_path if path} - set(self._fields)
        if strangers:
            raise ValueError(f"{table.cls.__name__} has no fields {sorted(strangers)}, which its columns name")

    def arguments(self) -> str:
        return ", ".join(self._field(name) for name in self._fields)

    def _field(self, name: str) -> str:
        nested = self._nested.get(name)
        return self._expression(name) if nested is None else self._object(name, nested)

    def _object(self, name: str, nested: Nested) -> str:
        paths = [f"{name}.{one.name}" for one in fields(nested.cls)]
        self.names[f"new_{name}"] = nested.cls
        made = f"new_{name}({', '.join(map(self._expression, paths))})"
        return f"(None if row[{self._by_path[paths[0]][0]}] is None else {made})" if nested.optional else made

    def _expression(self, path: str) -> str:
        try:
            place, column = self._by_path[path]
        except KeyError:
            raise ValueError(f"no column is declared for the field {path}") from None
        value = f"row[{place}]"
        if column.enum is not None:
            self.names[f"enum_{column.name}"] = Members(column.enum)
            made = f"enum_{column.name}[{value}]"
        else:
            function = column.read or self._read.get(column.type)
            if function is None:
                return value
            self.names[f"read_{column.name}"] = function
            made = f"read_{column.name}({value})"
        return f"(None if {value} is None else {made})" if column.nullable else made


class _Writer:
    """The values of columns, each as an expression over ``it``, its nested objects and the stream's key."""

    def __init__(self, table: Table[Any], write: Mapping[Type, Callable[[Any], Any]]) -> None:
        self._write = write
        self._nested = table.nested
        self.names: dict[str, object] = {}

    def nested(self) -> str:
        return "".join(f"    {name} = it.{name}\n" for name in self._nested)

    def value(self, column: Column) -> str:
        if column.name in {"stream_name", "stream_id"}:
            return column.name
        name, _, inner = column.path.partition(".")
        value = column.path if inner else f"it.{name}"
        function = column.write or self._write.get(column.type)
        made = value
        if function is not None:
            self.names[f"write_{column.name}"] = function
            made = f"write_{column.name}({value})"
        absent = []
        if inner and self._nested[name].optional:
            absent.append(f"{name} is None")
        if function is not None and column.nullable:
            absent.append(f"{value} is None")
        return f"(None if {' or '.join(absent)} else {made})" if absent else made


def _compiled(name: str, source: str, names: dict[str, object]) -> Any:  # noqa: ANN401  # its type is the caller's
    exec(compile(source, f"<{name}>", "exec"), names)  # noqa: S102  # the source is made of this module's text alone
    return names[name]
