"""API keys in every adapter: what is stored, when a key is live, and which role may write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest

from store.backend import PaymentStore
from store.errors import UnstorableError
from store.keys import ApiKey, Keyring, ListedKey, NewKey, Scope
from tests.store.builders import START
from tests.store.conftest import Fixture
from tests.store.postgresql_server import Schema

ACME = NewKey("a" * 16, bytes(range(32)), "acme", frozenset(Scope), "Bob's", START + timedelta(seconds=60))
PLAIN = NewKey("b" * 16, bytes(32), "globex", frozenset({Scope.READ}), "", None)


@pytest.fixture
def keyring(fixture: Fixture) -> Iterator[Keyring]:
    """The operator's access to the keys while the store is open."""
    with fixture.open_keyring() as keyring:
        yield keyring


def test_a_key_is_found_as_it_was_created(store: PaymentStore, keyring: Keyring) -> None:
    """The service sees merchant, scopes and digest of a key at once, and the time until it expires."""
    assert not store.has_api_keys()
    keyring.add(ACME)
    keyring.add(PLAIN)
    assert store.has_api_keys()
    assert store.api_key(ACME.key_id) == ApiKey(
        ACME.key_id, ACME.digest, "acme", frozenset(Scope), live=True, lasts_s=60.0
    )
    assert store.api_key(PLAIN.key_id) == ApiKey(
        PLAIN.key_id, PLAIN.digest, "globex", frozenset({Scope.READ}), live=True, lasts_s=None
    )
    assert store.api_key("c" * 16) is None


def test_a_key_expires(store: PaymentStore, keyring: Keyring, pass_time: Callable[[float], None]) -> None:
    """A key is live until its expiry by the store's clock, and no longer live at that instant."""
    keyring.add(ACME)
    pass_time(59.5)
    live = store.api_key(ACME.key_id)
    assert live is not None
    assert (live.live, live.lasts_s) == (True, 0.5)
    pass_time(0.5)
    over = store.api_key(ACME.key_id)
    assert over is not None
    assert not over.live


def test_a_revoked_key_stays_revoked(store: PaymentStore, keyring: Keyring, pass_time: Callable[[float], None]) -> None:
    """Only that key is revoked. A second revocation does no harm: the first time counts."""
    keyring.add(ACME)
    keyring.add(PLAIN)
    assert keyring.revoke(PLAIN.key_id)
    pass_time(10)
    assert keyring.revoke(PLAIN.key_id)
    assert not keyring.revoke("c" * 16)
    dead, alive = store.api_key(PLAIN.key_id), store.api_key(ACME.key_id)
    assert dead is not None
    assert alive is not None
    assert (dead.live, alive.live) == (False, True)
    assert [key.revoked_at for key in keyring.list("globex")] == [START]


def test_keys_are_listed(keyring: Keyring, pass_time: Callable[[float], None]) -> None:
    """All keys, or those of a merchant, are listed oldest first, without their secrets."""
    keyring.add(PLAIN)
    pass_time(1)
    keyring.add(ACME)
    acme = ListedKey(
        ACME.key_id, "acme", frozenset(Scope), "Bob's", START + timedelta(seconds=1), ACME.expires_at, None
    )
    assert [key.key_id for key in keyring.list()] == [PLAIN.key_id, ACME.key_id]
    assert keyring.list("acme") == [acme]
    assert keyring.list("absent") == []


@pytest.mark.parametrize(
    "wrong",
    [
        ACME,
        NewKey("c" * 16, bytes(31), "acme", frozenset(Scope), "", None),
        NewKey("c" * 16, bytes(32), "gateways", frozenset(Scope), "", None),
        NewKey("c" * 16, bytes(32), "acme", frozenset(), "", None),
    ],
)
def test_an_invalid_key_is_refused(keyring: Keyring, wrong: NewKey) -> None:
    """An existing id, a malformed digest, the gateways as a merchant and a key without scopes are refused."""
    keyring.add(ACME)
    with pytest.raises(UnstorableError):
        keyring.add(wrong)
    assert [key.key_id for key in keyring.list()] == [ACME.key_id]


def test_the_service_cannot_create_keys(schema: Schema) -> None:
    """The service's login on a server can neither create, change nor delete a key."""
    if not schema.role:
        pytest.skip("the server's user may not make roles")
    with psycopg.connect(schema.conninfo(), autocommit=True) as session:
        for statement in (
            "INSERT INTO api_keys VALUES ('c', '', 'acme', 'operations', '', now(), NULL, NULL)",
            "UPDATE api_keys SET scopes = 'operations'",
            "DELETE FROM api_keys",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)


def test_no_digest_in_a_repr() -> None:
    """Keys in a traceback show no digest that could be attacked."""
    shown = repr(ACME) + repr(ApiKey(ACME.key_id, ACME.digest, "acme", ACME.scopes, live=True, lasts_s=None))
    assert "digest" not in shown
