"""Translates errors of psycopg into errors of the store, for all statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import errors

from store.errors import (
    CommitUncertainError,
    CorruptStoreError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
    UnstorableError,
)

_DATA: Final = (psycopg.DataError, psycopg.IntegrityError)
# the class of SQLSTATEs of "program limit exceeded", for example a key that is too long for an index
_LIMITS: Final = "54"
_DAMAGE: Final = (errors.DataCorrupted, errors.IndexCorrupted)
_SCHEMA: Final = (psycopg.ProgrammingError,)
_CLAIMS_KEY: Final = "claims_pk"


class UnreplicatedError(psycopg.OperationalError):
    """The transaction is committed here, and the server stopped waiting for its synchronous replicas."""


def translated(error: psycopg.Error) -> StoreError:
    """Return the store's error for ``error``. Nothing of the call is stored, except with CommitUncertainError."""
    # The server's details and context may quote whole rows, which must not be logged.
    text = f"{type(error).__name__}: {error.diag.message_primary or str(error).strip()}"
    if isinstance(error, UnreplicatedError):
        return CommitUncertainError(text)
    if isinstance(error, _DATA) or (error.sqlstate or "").startswith(_LIMITS):
        return UnstorableError(text)
    if isinstance(error, _DAMAGE):
        return CorruptStoreError(text)
    if isinstance(error, _SCHEMA):
        return SchemaError(text)
    return StoreUnavailableError(text)


def is_lost(connection: psycopg.Connection[Any], error: psycopg.Error) -> bool:
    """Whether the connection was cut, so that its call may have had an effect.

    With any other error the server has reported that the transaction is undone.
    """
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and connection.closed


def is_race(error: psycopg.Error) -> bool:
    """Whether another process interfered, so that repeating the call sees its effect.

    Two calls that take one claim at the same time collide at its key, before the loser can see the winner's claim.
    """
    if isinstance(error, errors.UniqueViolation):
        return error.diag.constraint_name == _CLAIMS_KEY
    return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure)


@contextmanager
def translation() -> Iterator[None]:
    """Raise errors of psycopg from the block as errors of the store."""
    try:
        yield
    except psycopg.Error as error:
        raise translated(error) from error
