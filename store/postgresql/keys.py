"""API keys: read by the service, and administered by the owner of the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors

from store.errors import StoreError, storable
from store.keys import ApiKey, ListedKey, NewKey, scopes_of, scopes_text
from store.postgresql.failures import translated, translation
from store.postgresql.sessions import Session, connection_settings
from store.postgresql.statements import SQL


def find(session: Session, key_id: str) -> ApiKey | None:
    """Return the key with this id."""
    row = session.execute(SQL["select_api_key"], (key_id,), prepare=True, binary=True).fetchone()
    if row is None:
        return None
    _, digest, merchant, scopes, live, lasts_s = row
    return ApiKey(key_id, bytes(digest), merchant, scopes_of(scopes), live, lasts_s)


def any_live(session: Session) -> bool:
    """Whether there is a live key."""
    return session.execute(SQL["select_any_api_key"]).fetchone() == (True,)


@contextmanager
def open_keyring(url: str) -> Iterator[PostgresqlKeyring]:
    """The keys in the database at ``url``."""
    with translation(), Session.connect(**connection_settings(url), autocommit=True) as session:
        yield PostgresqlKeyring(session)


class PostgresqlKeyring:
    """Implements ``store.keys.Keyring``; each statement is a transaction of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, key: NewKey) -> ListedKey:
        """See ``store.keys.Keyring``."""
        row = (key.key_id, key.digest, key.merchant, scopes_text(key.scopes), key.label, key.expires_at)
        with _administering():
            made = self._session.execute(SQL["insert_api_key"], row).fetchone()
        assert made is not None
        return key.listed(made[0])

    def list(self, merchant: str | None = None) -> Sequence[ListedKey]:
        """See ``store.keys.Keyring``."""
        with _administering():
            rows = self._session.execute(SQL["select_api_keys"], {"merchant": merchant}).fetchall()
        return [_listed(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """See ``store.keys.Keyring``."""
        with _administering():
            return self._session.execute(SQL["revoke_api_key"], (key_id,)).rowcount == 1


@contextmanager
def _administering() -> Iterator[None]:
    try:
        with storable():
            yield
    except errors.InsufficientPrivilege as error:
        raise StoreError(
            "this login may not administer API keys: PAYMENTS_MIGRATION_DATABASE_URL names the owner of the tables"
        ) from error
    except psycopg.Error as error:
        raise translated(error) from error


def _listed(row: tuple[Any, ...]) -> ListedKey:
    key_id, merchant, scopes, *rest = row
    return ListedKey(key_id, merchant, scopes_of(scopes), *rest)
