"""Authentication and authorization: the one place that decides to which merchant a request belongs.

A request to an operation with scopes must send a live API key with one of them (RFC 6750). It has access to the key's
merchant only. Where the service needs no keys, every request belongs to the merchant ``main``.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from threading import Lock
from typing import Any, Final, NamedTuple

import falcon

from api.body import AFTER_BODY
from api.keys import Presented, read_api_key
from api.operations import OpenToAll, Operation
from api.problems import INSUFFICIENT_SCOPE, UNAUTHENTICATED, ProblemError
from api.tracing import remember_who
from store.errors import StoreError, StoreUnavailableError
from store.keys import ApiKey, ApiKeyStore
from store.port import DEFAULT_MERCHANT

REFRESH_S: Final = 0.3
"""The age at which a lookup is repeated: by one request, while the others use the old result."""
KEPT_S: Final = 0.8
"""The largest age of a lookup that is used, so that a revoked key is refused within a second in every process."""
LOOKS_MAX: Final = 3
"""The number of lookups in a row that take too long before a request gets 503."""
KNOWN_MAX: Final = 10_000
"""The capacity of the cache for keys, and of the cache for unknown ids. A full cache is cleared."""

_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+) *")
_IS_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr]( .*)?")
_ENV_KEY: Final = "payments.caller"
_REALM: Final = 'Bearer realm="payments"'
_NO_KEY: Final = bytes(32)

log = logging.getLogger(__name__)


class Caller(NamedTuple):
    """The merchant of a request, and the API key that it presented where keys are needed."""

    merchant: str
    presented: Presented | None = None


_ANYBODY: Final = Caller(DEFAULT_MERCHANT)


class _Lookup(NamedTuple):
    """The store's answer for a key: read at ``began``, live until ``live_until``; times of the monotonic clock."""

    key: ApiKey | None
    began: float
    live_until: float


class KnownKeys:
    """A cache of API keys, with entries of at most KEPT_S. Concurrent requests for a key share one lookup."""

    def __init__(self, queries: ApiKeyStore, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._queries, self._monotonic = queries, monotonic
        self._known: dict[str, _Lookup] = {}
        self._unknown: dict[str, _Lookup] = {}
        self._under_way: dict[str, Future[_Lookup]] = {}
        self._lock = Lock()

    def check(self, presented: Presented) -> ApiKey | None:
        """The presented key if it is live; else None. The duration is the same for every reason of a refusal.

        Raises StoreUnavailableError when the store does not answer in time.
        """
        lookup = self._recent(presented.key_id)
        key = lookup.key
        proven = hmac.compare_digest(_NO_KEY if key is None else key.digest, presented.digest)
        if key is None or not proven or not key.live or self._monotonic() >= lookup.live_until:
            if key is not None:  # unknown ids are not logged: a client may send any number of them
                log.info("an API key was refused", extra={"fields": {"key_id": key.key_id, "proven": proven}})
            return None
        return key

    def _recent(self, key_id: str) -> _Lookup:
        known = self._known.get(key_id) or self._unknown.get(key_id)
        age = inf if known is None else self._monotonic() - known.began
        if known is not None and age < REFRESH_S:
            return known
        if known is not None and age < KEPT_S:
            if key_id in self._under_way:
                return known
            try:
                known = self._look(key_id)
            except StoreError:
                return known
        for _ in range(LOOKS_MAX):
            if known is not None and self._monotonic() - known.began < KEPT_S:
                return known
            known = self._look(key_id)
        if known is not None and self._monotonic() - known.began < KEPT_S:
            return known
        raise StoreUnavailableError("the lookup of an API key takes too long")

    def _look(self, key_id: str) -> _Lookup:
        """Look the key up, or wait for the lookup in progress."""
        with self._lock:
            others = self._under_way.get(key_id)
            mine: Future[_Lookup] = Future()
            if others is None:
                self._under_way[key_id] = mine
        if others is not None:
            return others.result()
        try:
            lookup = self._asked(key_id)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(lookup)
            return lookup
        finally:
            del self._under_way[key_id]

    def _asked(self, key_id: str) -> _Lookup:
        began = self._monotonic()
        key = self._queries.api_key(key_id)
        lookup = _Lookup(key, began, inf if key is None or key.lasts_s is None else began + key.lasts_s)
        known, other = (self._known, self._unknown) if key is not None else (self._unknown, self._known)
        if len(known) >= KNOWN_MAX:
            known.clear()
        known[key_id] = lookup
        other.pop(key_id, None)
        return lookup


class Callers:
    """Middleware that authenticates a request before its body is read. ``keys`` None: no keys are needed.

    Raises ProblemError: 401 without a live key, 403 when the key has none of the operation's scopes.
    """

    def __init__(self, keys: KnownKeys | None) -> None:
        self._keys = keys

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """Authenticate and authorize the request."""
        if self._keys is None:
            req.env[_ENV_KEY] = _ANYBODY
            return
        method = "get" if req.method == "HEAD" else req.method.lower()
        operation: Operation | None = getattr(resource, "operations", {}).get(method)
        if operation is None:
            if hasattr(resource, f"on_{method}") and not isinstance(resource, OpenToAll):
                raise LookupError(f"{req.method} of {type(resource).__name__} declares no scopes")
            return
        if not operation.scopes:
            return
        key, presented = _authenticated(self._keys, req)
        if key.scopes.isdisjoint(operation.scopes):
            raise _out_of_scope(operation)
        req.env[_ENV_KEY] = Caller(key.merchant, presented)
        req.env[AFTER_BODY] = lambda: self.confirm(presented)
        remember_who(req, f"api-key:{key.key_id}")

    def confirm(self, presented: Presented | None) -> None:
        """Check again during a long request. Raises ProblemError (401) when the key is no longer live."""
        if self._keys is not None and presented is not None and self._keys.check(presented) is None:
            raise _refused()


def _authenticated(keys: KnownKeys, req: falcon.Request) -> tuple[ApiKey, Presented]:
    given: str = req.env.get("HTTP_AUTHORIZATION") or ""
    if _IS_BEARER.fullmatch(given) is None:
        detail = "Send an API key as Authorization: Bearer."
        raise ProblemError(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": _REALM})
    bearer = _BEARER.fullmatch(given)
    presented = None if bearer is None else read_api_key(bearer[1])
    key = None if presented is None else keys.check(presented)
    if presented is None or key is None:
        raise _refused()
    return key, presented


def _refused() -> ProblemError:
    detail = "The API key is unknown, expired or revoked."
    return ProblemError(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})


def _out_of_scope(operation: Operation) -> ProblemError:
    (scope,) = operation.scopes
    challenge = f'{_REALM}, error="insufficient_scope", scope="{scope}"'
    detail = f"The API key needs the scope {scope}."
    return ProblemError(INSUFFICIENT_SCOPE, detail, headers={"WWW-Authenticate": challenge})


def caller_of(req: falcon.Request) -> Caller:
    """The caller of the request. Raises KeyError for an operation without scopes, which has no caller."""
    caller: Caller = req.env[_ENV_KEY]
    return caller


def merchant_of(req: falcon.Request) -> str:
    """The merchant to which the request belongs."""
    return caller_of(req).merchant


def warn_without_keys(keys: ApiKeyStore, *, needed: bool) -> None:
    """Log that no client can call the service while keys are ``needed`` and none is live. Raises StoreError."""
    if needed and not keys.has_api_keys():
        log.warning("there is no live API key, so no client can call: create one with manage.py keys create")
