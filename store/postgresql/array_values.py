"""Arrays in the binary format of PostgreSQL's protocol, as parameters of a statement.

The driver encodes a list item by item, which takes several times longer than the rest of an append. These functions
encode whole arrays, and the driver passes their bytes on. ``None`` is NULL.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER: Final = struct.Struct(">iiiii")  # dimensions, whether there are NULLs, type of the items, items, lower bound
_EMPTY: Final = struct.Struct(">iii")
_LENGTH: Final = struct.Struct(">i")
_LENGTHS: Final = tuple(map(_LENGTH.pack, range(4096)))
_NULL: Final = _LENGTH.pack(-1)
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Array(bytes):
    """An encoded array. Subclasses name its type and that of its items by their numbers in ``pg_type``."""

    oid: ClassVar[int]
    item: ClassVar[int]

    @classmethod
    def joined(cls, count: int, items: Iterable[bytes], *, nulls: bool) -> Array:
        """The array of ``count`` encoded items, each after its length."""
        if not count:
            return cls(_EMPTY.pack(0, 0, cls.item))
        return cls(_HEADER.pack(1, nulls, cls.item, count, 1) + b"".join(items))


class _Text(Array):
    oid, item = 1009, 25


class _Bytea(Array):
    oid, item = 1001, 17


class _Integer(Array):
    oid, item = 1007, 23


class _Bigint(Array):
    oid, item = 1016, 20


class _Boolean(Array):
    oid, item = 1000, 16


class _Double(Array):
    oid, item = 1022, 701


class _Timestamptz(Array):
    oid, item = 1185, 1184


def texts(values: Sequence[str | None]) -> Array:
    """``text[]``."""
    return _variable(_Text, [None if value is None else value.encode() for value in values])


def byteas(values: Sequence[bytes | None]) -> Array:
    """``bytea[]``."""
    return _variable(_Bytea, values)


def integers(values: Sequence[int]) -> Array:
    """``integer[]``. Raises OverflowError."""
    return _fixed(_Integer, "i", 4, values)


def bigints(values: Sequence[int | None]) -> Array:
    """``bigint[]``. Raises OverflowError."""
    return _fixed(_Bigint, "q", 8, values)


def booleans(values: Sequence[bool]) -> Array:
    """``boolean[]``."""
    return _fixed(_Boolean, "?", 1, values)


def doubles(values: Sequence[float]) -> Array:
    """``double precision[]``."""
    return _fixed(_Double, "d", 8, values)


def times(values: Sequence[datetime | None]) -> Array:
    """``timestamptz[]``, to the microsecond. Raises TypeError for a time without a zone."""
    return _fixed(_Timestamptz, "q", 8, [None if value is None else _microseconds(value) for value in values])


def _microseconds(value: datetime) -> int:
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _variable(cls: type[Array], values: Sequence[bytes | None]) -> Array:
    items: list[bytes] = []
    for value in values:
        if value is None:
            items.append(_NULL)
        else:
            length = len(value)
            items.append(_LENGTHS[length] if length < len(_LENGTHS) else _LENGTH.pack(length))
            items.append(value)
    return cls.joined(len(values), items, nulls=None in values)


def _fixed(cls: type[Array], code: str, size: int, values: Sequence[Any]) -> Array:
    count = len(values)
    try:
        if None in values:
            one = struct.Struct(f">i{code}")
            return cls.joined(count, [_NULL if it is None else one.pack(size, it) for it in values], nulls=True)
        flat = [size] * (2 * count)
        flat[1::2] = values
        return cls.joined(count, [struct.pack(f">{('i' + code) * count}", *flat)], nulls=False)
    except struct.error as error:
        raise OverflowError(f"a number in {cls.__name__[1:].lower()}[]: {error}") from error


def _register(cls: type[Array]) -> None:
    class ArrayDumper(Dumper):
        format = Format.BINARY
        oid = cls.oid

        def dump(self, obj: Array) -> bytes:
            return obj

    psycopg.adapters.register_dumper(cls, ArrayDumper)


for _cls in (_Text, _Bytea, _Integer, _Bigint, _Boolean, _Double, _Timestamptz):
    _register(_cls)
