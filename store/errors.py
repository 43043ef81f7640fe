"""What may go wrong in a store; every error of a driver is translated into one of these.

::

    StoreError
    ├── StoreUnavailableError   nothing was stored by this call and it may be tried again
    ├── CommitUncertainError    the connection was lost while committing: ask again by event id
    ├── UnstorableError         one write of the batch holds something that cannot be stored; nothing was stored
    ├── CorruptStoreError       what is stored cannot be read as what this version of the service wrote
    ├── SchemaError             the tables are missing, older or newer than this version needs
    └── StoreInUseError         a service works on the store, and what needs it alone was not done
"""

from __future__ import annotations


class StoreError(Exception):
    """A store could not do what it was asked."""


class StoreUnavailableError(StoreError):
    """The store does not answer now; nothing of this call was stored."""


class CommitUncertainError(StoreError):
    """The call may or may not have been stored. Appending the same writes again tells, and does no harm."""


class UnstorableError(StoreError):
    """A write of the batch was refused by the database for what it holds. Nothing of the batch was stored."""


class CorruptStoreError(StoreError):
    """A stored row cannot be understood."""


class SchemaError(StoreError):
    """The database's schema does not fit this version of the service."""


class StoreInUseError(StoreError):
    """Somebody works on the store. Nothing of what needs it alone was done by this call."""
