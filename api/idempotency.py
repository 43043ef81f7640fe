"""Idempotency keys: how a caller gives one, what it stands for, and who is under way with one in this process.

The header's name and meaning are those of draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Lock
from typing import Any, Final

import falcon
import orjson

from actors.customer.idempotency import IdempotencyKey
from api.problems import invalid
from api.screening.envelope import found_in_header
from domain.commands import Receive
from store.port import StreamKey

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
"""The header of an answer that tells of a command that was carried out before."""
KEY_LENGTH_MAX: Final = 255

_BARE: Final = re.compile(r"[!#-~][!-~]{0,254}")
_QUOTED: Final = re.compile(r'"([!-~]{1,255})"')
PATTERN: Final = f"^({_BARE.pattern}|{_QUOTED.pattern})$"
"""What ``read_key`` takes, as a regular expression of OpenAPI."""
_WRONG: Final = f"Not 1 to {KEY_LENGTH_MAX} visible ASCII characters, bare or in double quotes."


def read_key(req: falcon.Request) -> str | None:
    """The request's key, None without one. Raises ProblemError for one that cannot be."""
    given: str | None = req.env.get("HTTP_IDEMPOTENCY_KEY")
    if given is None:
        return None
    if len(given) > KEY_LENGTH_MAX + len('""'):
        raise invalid({HEADER: [_WRONG]})
    if found := found_in_header(req.env, given):
        raise invalid({HEADER: found})
    quoted = _QUOTED.fullmatch(given)
    if quoted is not None:
        return quoted[1]
    if _BARE.fullmatch(given) is None:
        raise invalid({HEADER: [_WRONG]})
    return given


def once(key: str, stream: StreamKey, command: Receive) -> IdempotencyKey:
    """The key as the claim of a command: unique within its merchant and operation.

    Two commands are the same when they are so by value, with the defaults filled in.
    """
    money = command.money
    said = [stream.id, command.gateway, money.minor, money.currency, dict(command.details)]
    return once_of(command.kind, stream.name, key, said)


def once_of(operation: str, merchant: str, key: str, said: list[Any]) -> IdempotencyKey:
    """The same for any operation; ``said`` is what makes two orders the same."""
    fingerprint = sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return IdempotencyKey(f"idempotency:{operation}:{merchant}", key, fingerprint)


class KeysUnderWay:
    """The keys of the requests that this process serves just now."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    @contextmanager
    def entered(self, key: IdempotencyKey | None) -> Iterator[None]:
        """For as long as a request with ``key`` is served."""
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
        """Whether another request with ``key`` is under way as well."""
        return self._counts[key.scope, key.key] > 1
