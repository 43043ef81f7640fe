"""Translates errors of apsw into errors of the store, for all statements."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from store.errors import CorruptStoreError, SchemaError, StoreError, StoreUnavailableError, UnstorableError

_DATA: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)
_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
_SCHEMA: Final = (apsw.SQLError,)

NOT_COMMITTED: Final = (*_DATA, *_SCHEMA, apsw.BusyError, apsw.ConnectionClosedError)
"""Errors of a statement that is its own transaction which occur before its COMMIT."""


def translated(error: apsw.Error, path: Path | None = None) -> StoreError:
    """Return the store's error for ``error``, which COMMIT did not raise. With ``path`` the text names the file."""
    text = f"{type(error).__name__}: {error}"
    if path is not None:
        text = f"{path}: {text}{_reason(path)}"
    if isinstance(error, _DATA):
        return UnstorableError(text)
    if isinstance(error, _DAMAGE):
        return CorruptStoreError(text)
    if isinstance(error, _SCHEMA):
        return SchemaError(text)
    return StoreUnavailableError(text)


@contextmanager
def translation(path: Path | None = None) -> Iterator[None]:
    """Raise errors of apsw from the block as errors of the store, which name ``path``."""
    try:
        yield
    except apsw.Error as error:
        raise translated(error, path) from error


def _reason(path: Path) -> str:
    """Return the missing permission of this process, which SQLite does not name."""
    try:
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return " (its file system is mounted read-only)"
    except OSError as error:
        return f" ({path.parent}: {error.strerror})"
    files = [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
    for may, verb in ((os.R_OK, "read"), (os.W_OK, "write")):
        for one in files:
            if one.exists() and not os.access(one, may, effective_ids=True):
                return f" (this user may not {verb} {one.name})"
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        return f" (this user may not write in {path.parent})"
    return ""
