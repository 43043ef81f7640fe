"""API keys: read by the service, and administered by the operator on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw

from store.errors import storable
from store.keys import ApiKey, ListedKey, NewKey, scopes_of, scopes_text
from store.sqlite.command_connections import reading, writing
from store.sqlite.failures import translation
from store.sqlite.rows import from_us, to_us
from store.sqlite.statements import SQL


def find(cursor: apsw.Cursor, key_id: str, now_us: int) -> ApiKey | None:
    """Return the key with this id."""
    row = cursor.execute(SQL["select_api_key"], (key_id, now_us)).fetchone()
    if row is None:
        return None
    _, digest, merchant, scopes, live, lasts_us = row
    lasts_s = None if lasts_us is None else lasts_us / 1_000_000
    return ApiKey(key_id, digest, merchant, scopes_of(scopes), bool(live), lasts_s)


def any_live(cursor: apsw.Cursor, now_us: int) -> bool:
    """Whether there is a live key."""
    return bool(cursor.execute(SQL["select_any_api_key"], (now_us,)).get)


@contextmanager
def open_keyring(path: Path, clock: Callable[[], datetime]) -> Iterator[SqliteKeyring]:
    """The keys in the file. Each change waits for the writes of the service."""
    with reading(path):  # so that problems with the file are reported first
        pass
    yield SqliteKeyring(path, clock)


class SqliteKeyring:
    """Implements ``store.keys.Keyring``. Each statement is a transaction of its own, on a connection of its own.

    Therefore the list needs only read access to the file.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path, self._clock = path, clock

    def add(self, key: NewKey) -> ListedKey:
        """See ``store.keys.Keyring``."""
        now_us = self._now_us()
        expires_us = None if key.expires_at is None else to_us(key.expires_at)
        row = (key.key_id, key.digest, key.merchant, scopes_text(key.scopes), key.label, now_us, expires_us)
        self._execute("insert_api_key", row)
        return key.listed(from_us(now_us))

    def list(self, merchant: str | None = None) -> Sequence[ListedKey]:
        """See ``store.keys.Keyring``."""
        with reading(self._path) as (connection, _), storable():
            rows = connection.execute(SQL["select_api_keys"], (merchant,)).fetchall()
        return [_listed(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """See ``store.keys.Keyring``."""
        return self._execute("revoke_api_key", (key_id, self._now_us()))

    def _execute(self, name: str, values: tuple[Any, ...]) -> bool:
        """Whether a row was changed."""
        with translation(self._path), writing(self._path) as connection, storable():
            connection.execute(SQL[name], values)
            return connection.changes() == 1

    def _now_us(self) -> int:
        return to_us(self._clock())


def _listed(row: tuple[Any, ...]) -> ListedKey:
    key_id, merchant, scopes, label, created_at, expires_at, revoked_at = row
    times = [None if at is None else from_us(at) for at in (expires_at, revoked_at)]
    return ListedKey(key_id, merchant, scopes_of(scopes), label, from_us(created_at), *times)
