"""The one place where errors of apsw become errors of the store; knows nothing of statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

from store.errors import CorruptStoreError, SchemaError, StoreError, StoreUnavailableError, UnstorableError

_DATA: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)
_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
_SCHEMA: Final = (apsw.SQLError,)

UNSTORABLE: Final = (UnicodeEncodeError, OverflowError, TypeError, ValueError)
"""What binding a value raises when the value is of no type or size that SQLite has (apsw, "Types")."""


NOT_COMMITTED: Final = (*_DATA, *_SCHEMA, apsw.BusyError, apsw.ConnectionClosedError)
"""What a statement that is its own transaction is refused with before it gets to its COMMIT."""


def translated(error: apsw.Error) -> StoreError:
    """The store's error for ``error``, which was not raised by COMMIT."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, _DATA):
        return UnstorableError(text)
    if isinstance(error, _DAMAGE):
        return CorruptStoreError(text)
    if isinstance(error, _SCHEMA):
        return SchemaError(text)
    return StoreUnavailableError(text)


@contextmanager
def translation() -> Iterator[None]:
    """Raise errors of apsw from the block as errors of the store."""
    try:
        yield
    except apsw.Error as error:
        raise translated(error) from error


@contextmanager
def storable() -> Iterator[None]:
    """Raise UnstorableError for a value of no type or size that SQLite has."""
    try:
        yield
    except UNSTORABLE as error:
        raise UnstorableError(f"{type(error).__name__}: {error}") from error
