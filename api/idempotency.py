"""Idempotency keys: the header, the claim of a key, and the requests in progress of this process by key.

Name and meaning of the header follow draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Lock
from typing import Any, Final

import falcon
import orjson

from actors.customer.idempotency import IdempotencyKey
from api.patterns import BARE_KEY, IDEMPOTENCY_KEY_LENGTH_MAX, QUOTED_KEY
from api.problems import invalid
from api.screening.envelope import found_in_header
from domain.commands import Receive, ReceiveChild
from store.port import StreamKey

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
"""The header of an answer that is the replay of an earlier command."""
_WRONG: Final = f"Not 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} visible ASCII characters, bare or in double quotes."


def read_key(req: falcon.Request) -> str | None:
    """The request's key; None without one. Raises ProblemError for an invalid key."""
    given: str | None = req.env.get("HTTP_IDEMPOTENCY_KEY")
    if given is None:
        return None
    if len(given) > IDEMPOTENCY_KEY_LENGTH_MAX + len('""'):
        raise invalid({HEADER: [_WRONG]})
    if found := found_in_header(req.env, given):
        raise invalid({HEADER: found})
    quoted = QUOTED_KEY.fullmatch(given)
    if quoted is not None:
        return quoted[1]
    if BARE_KEY.fullmatch(given) is None:
        raise invalid({HEADER: [_WRONG]})
    return given


def once(key: str, stream: StreamKey, command: Receive) -> IdempotencyKey:
    """The claim of a key by a command, unique within merchant and operation.

    Two commands are the same when their values are equal, with the defaults filled in.
    """
    money = command.money
    said: list[Any] = [stream.id, command.gateway, money.minor, money.currency, dict(command.details)]
    if command.manual_capture:  # without it as in earlier versions, so that their claims stay valid
        said.append({"capture": "manual"})
    return once_of(command.kind, stream.name, key, said)


def once_child(key: str, merchant: str, command: ReceiveChild) -> IdempotencyKey:
    """The claim of a key by a refund, capture or void. An omitted amount differs from every amount."""
    return once_of(command.kind, merchant, key, [command.parent_id, command.minor, command.reason])


def once_of(operation: str, merchant: str, key: str, said: list[Any]) -> IdempotencyKey:
    """The claim of a key by any operation; ``said`` are the values that make two commands the same."""
    fingerprint = sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return IdempotencyKey(f"idempotency:{operation}:{merchant}", key, fingerprint)


class KeysUnderWay:
    """The keys of the requests in progress in this process."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    @contextmanager
    def entered(self, key: IdempotencyKey | None) -> Iterator[None]:
        """Register a request with ``key`` while it is served."""
        if key is None:
            yield
            return
        name = (key.scope, key.key)
        with self._lock:
            self._counts[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[name] -= 1
                if not self._counts[name]:
                    del self._counts[name]

    def has_others(self, key: IdempotencyKey) -> bool:
        """Whether another request with ``key`` is in progress."""
        return self._counts[key.scope, key.key] > 1
