"""The errors of a store. Each adapter translates every error of its driver into one of these.

::

    StoreError
    ├── StoreUnavailableError   nothing was stored by this call; it may be tried again
    ├── CommitUncertainError    the connection was lost during COMMIT: the event ids show what is stored
    ├── UnstorableError         one write of the batch holds a value that cannot be stored; nothing was stored
    ├── CorruptStoreError       stored data cannot be read as data of this version of the service
    ├── SchemaError             the tables are missing, older or newer than this version needs
    ├── StoreInUseError         a service works on the store, and the call needs it exclusively; nothing was done
    └── NotSupportedError       this kind of store does not have the operation
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final


class StoreError(Exception):
    """A store failed to do what was requested."""


class StoreUnavailableError(StoreError):
    """The store does not answer now; nothing of this call was stored."""


class CommitUncertainError(StoreError):
    """The call may or may not have been stored. Appending the same writes again is safe and shows which."""


class UnstorableError(StoreError):
    """The database refused a value in a write of the batch. Nothing of the batch was stored."""


class CorruptStoreError(StoreError):
    """A stored row cannot be read."""


class SchemaError(StoreError):
    """The database's schema does not fit this version of the service."""


class StoreInUseError(StoreError):
    """A service works on the store. The call, which needs it exclusively, did nothing."""


class NotSupportedError(StoreError):
    """This kind of store does not have the operation."""


UNSTORABLE: Final = (TypeError, ValueError, OverflowError)
"""What a driver raises for a value whose type or size the database does not have (UnicodeEncodeError included)."""


@contextmanager
def storable() -> Iterator[None]:
    """Raise UnstorableError for a value of the block that no driver can encode."""
    try:
        yield
    except UNSTORABLE as error:
        raise UnstorableError(f"{type(error).__name__}: {error}") from error
