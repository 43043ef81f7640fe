"""The cache of API keys: bounded, shared by concurrent requests, and never older than a second."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from threading import Event
from typing import Any, Final

import pytest

from api.callers import KEPT_S, KNOWN_MAX, LOOKS_MAX, REFRESH_S, KnownKeys
from api.keys import Presented, make_key, read_api_key
from store.errors import StoreUnavailableError
from store.keys import ApiKey, Scope
from store.queries import Queries

PATIENCE_S: Final = 30.0


class CountingKeys:
    """The store's keys with a count of lookups and an adjustable delay."""

    def __init__(self) -> None:
        self.now, self.asked, self.takes_s, self.down = 100.0, 0, 0.0, False
        self.keys: dict[str, ApiKey] = {}
        self._held: tuple[Event, Event] | None = None

    def hold(self) -> tuple[Event, Event]:
        """Block the next lookup: one event signals its beginning, the other releases it."""
        self._held = (Event(), Event())
        return self._held

    def api_key(self, key_id: str) -> ApiKey | None:
        """Look up a key."""
        self.asked += 1
        if self.down:
            raise StoreUnavailableError("down")
        found = self.keys.get(key_id)
        self.now += self.takes_s
        if self._held is not None:
            (begun, go_on), self._held = self._held, None
            begun.set()
            assert go_on.wait(PATIENCE_S)
        return found

    def monotonic(self) -> float:
        """The time that the test sets."""
        return self.now


@pytest.fixture
def keys() -> CountingKeys:
    """An empty store of keys."""
    return CountingKeys()


@pytest.fixture
def known(keys: CountingKeys) -> KnownKeys:
    """The cache of one process."""
    queries: Queries = keys  # type: ignore[assignment]  # the only query that it uses
    return KnownKeys(queries, monotonic=keys.monotonic)


def put(keys: CountingKeys, **changes: Any) -> Presented:
    """A live key."""
    _, presented = make_key(os.urandom)
    keys.keys[presented.key_id] = replace(
        ApiKey(*presented, "acme", frozenset(Scope), live=True, lasts_s=None), **changes
    )
    return presented


def test_lookups_are_cached(keys: CountingKeys, known: KnownKeys) -> None:
    """A busy key costs a few lookups a second, and so does an unknown key."""
    for presented in (put(keys), Presented("f" * 16, bytes(32))):
        keys.asked, began = 0, keys.now
        while keys.now < began + 10:
            known.check(presented)
            keys.now += 0.001
        assert keys.asked <= 10 / REFRESH_S + 1


def test_a_lookup_is_used_for_less_than_a_second() -> None:
    """A used lookup is younger than a second, also for the last request that waits for it."""
    assert 2 * REFRESH_S < KEPT_S < 1


@pytest.mark.parametrize("pace", [0.001, 0.1, REFRESH_S, 0.5, KEPT_S, 0.9])
def test_a_revoked_key_is_refused_a_second_later(keys: CountingKeys, known: KnownKeys, pace: float) -> None:
    """However often a key is used, it is refused within a second of its revocation, and permanently."""
    presented = put(keys)
    for _ in range(5):
        assert known.check(presented)
        keys.now += pace
    keys.keys[presented.key_id] = replace(keys.keys[presented.key_id], live=False)
    revoked = keys.now
    while keys.now < revoked + 3:
        assert not known.check(presented) or keys.now < revoked + KEPT_S
        keys.now += pace


def test_one_request_refreshes_for_all(keys: CountingKeys, known: KnownKeys) -> None:
    """While one request looks a key up again, the others use the cached result, but for at most a second."""
    presented = put(keys)
    assert known.check(presented)
    keys.now += REFRESH_S + 0.01
    with ThreadPoolExecutor(2) as threads:
        looking, go_on = keys.hold()
        first = threads.submit(known.check, presented)
        assert looking.wait(PATIENCE_S)
        keys.keys[presented.key_id] = replace(keys.keys[presented.key_id], live=False)
        assert known.check(presented), "the lookup is in progress"
        assert keys.asked == 2
        keys.now += KEPT_S + 0.01
        second = threads.submit(known.check, presented)
        go_on.set()
        assert first.result(PATIENCE_S) is None, "the result is too old"
        assert second.result(PATIENCE_S) is None


def test_concurrent_requests_share_a_lookup(keys: CountingKeys, known: KnownKeys) -> None:
    """A hundred concurrent requests with a key that is not cached cost one lookup."""
    presented = put(keys)
    with ThreadPoolExecutor(100) as threads:
        looking, go_on = keys.hold()
        answers = [threads.submit(known.check, presented) for _ in range(100)]
        assert looking.wait(PATIENCE_S)
        go_on.set()
        assert all(answer.result(PATIENCE_S) for answer in answers)
    assert keys.asked <= 2, "at most one request came after it ended"


def test_a_slow_store_refuses_all(keys: CountingKeys, known: KnownKeys) -> None:
    """A result older than a second is not used. After some tries the request is refused."""
    presented = put(keys)
    keys.takes_s = KEPT_S + 0.01
    with pytest.raises(StoreUnavailableError):
        known.check(presented)
    assert keys.asked == LOOKS_MAX
    keys.takes_s = KEPT_S - 0.01
    assert known.check(presented)


def test_a_failing_store_refuses_no_recent_key(keys: CountingKeys, known: KnownKeys) -> None:
    """A recently used key works while the store does not answer, but no longer than usual."""
    presented = put(keys)
    assert known.check(presented)
    keys.down = True
    began = keys.now
    while keys.now < began + KEPT_S - 0.01:
        assert known.check(presented)
        keys.now += 0.01
    keys.now = began + KEPT_S + 0.01
    with pytest.raises(StoreUnavailableError):
        known.check(presented)
    keys.down = False
    assert known.check(presented)


def test_a_key_expires_exactly(keys: CountingKeys, known: KnownKeys) -> None:
    """A key is refused at its expiry without another lookup."""
    presented = put(keys, lasts_s=0.25)
    assert known.check(presented)
    keys.now += 0.2499
    assert known.check(presented)
    keys.now += 0.0001
    assert not known.check(presented)
    assert keys.asked == 1


def test_a_wrong_secret_is_refused(keys: CountingKeys, known: KnownKeys) -> None:
    """A wrong secret is refused before and after the right one was used. A digest of zeros opens no unknown key."""
    presented = put(keys)
    wrong = Presented(presented.key_id, sha256(b"x").digest())
    assert not known.check(wrong)
    assert known.check(presented)
    assert not known.check(wrong)
    assert not known.check(Presented("f" * 16, bytes(32)))


def test_the_cache_is_bounded(keys: CountingKeys, known: KnownKeys) -> None:
    """Random keys do not fill the memory."""
    good = put(keys)
    for number in range(KNOWN_MAX + 5):
        known.check(Presented(f"{number:016x}", bytes(32)))
    assert len(known._known) <= KNOWN_MAX >= len(known._unknown)
    assert known.check(good)


def test_keys_are_random_and_read_strictly() -> None:
    """A key has a public id of 64 bits and a secret of 256. Similar texts are not keys."""
    made = {make_key(os.urandom)[0] for _ in range(50)}
    assert len(made) == 50
    for text in made:
        presented = read_api_key(text)
        assert presented is not None
        assert presented.key_id == text[4:17]
        assert presented.digest == sha256(text[18:].encode()).digest()
        for wrong in (text + "\n", " " + text, text[:-1], text + "A", "PGW" + text[3:], text[:4] + "1" + text[5:]):
            assert read_api_key(wrong) is None
    assert {len(text) for text in made} == {61}
    drawn: list[int] = []

    def draw(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    make_key(draw)
    assert drawn == [8, 32]
