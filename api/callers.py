"""Who is calling, and what he may do: the one place that decides whose customers and transactions a request is about.

A request to an operation with scopes must bring a live API key with one of them (RFC 6750); what it is about is then
the key's merchant and nothing else. Where the service needs no keys, everybody is the merchant ``main``.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import falcon

from api.keys import Presented, read_key
from api.operations import Operation
from api.problems import INSUFFICIENT_SCOPE, UNAUTHENTICATED, ProblemError
from api.tracing import remember_who, request_id
from store.keys import ApiKey, Scope
from store.queries import Queries

MERCHANT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a merchant's name looks like; the gateways' streams have one that none may have."""
HOUSE: Final = "main"
"""The merchant of whoever calls without a key."""

REFRESH_S: Final = 0.3
"""A key that was looked up so long ago is looked up again, by one request while the others go on."""
KEPT_S: Final = 0.8
"""Nobody relies on a lookup that began earlier: within a second a revoked key is good for nothing, everywhere."""
KNOWN_MAX: Final = 10_000
"""Keys that are remembered, those that there are not included; when there are more, all are forgotten."""

_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+) *")
_ENV_KEY: Final = "payments.caller"
_NO_KEY: Final = bytes(32)

log = logging.getLogger(__name__)


class Caller(NamedTuple):
    """Whom a request speaks for."""

    merchant: str
    sees_all: bool = False
    """Whether the feed of events is everybody's: where there are no keys, there are no merchants to keep apart."""


_ANYBODY: Final = Caller(HOUSE, sees_all=True)


class _Lookup:
    """What the store said of a key, from ``began`` on, on the monotonic clock."""

    __slots__ = ("again", "began", "key", "live_until")

    def __init__(self, key: ApiKey | None, began: float) -> None:
        self.key, self.began, self.again = key, began, False
        self.live_until = float("inf") if key is None or key.lasts_s is None else began + key.lasts_s


class KnownKeys:
    """The keys that were asked for lately, as the store had them less than KEPT_S ago."""

    def __init__(self, queries: Queries, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._queries, self._monotonic = queries, monotonic
        self._known: dict[str, _Lookup] = {}

    def check(self, presented: Presented) -> ApiKey | None:
        """The key that was presented, if there is a live one; takes as long whatever is wrong.

        Raises StoreUnavailableError when that cannot be told.
        """
        now = self._monotonic()
        known = self._known.get(presented.key_id)
        if known is None or now - known.began >= KEPT_S:
            known = self._look(presented.key_id)
        elif now - known.began >= REFRESH_S and not known.again:
            known.again = True
            try:
                known = self._look(presented.key_id)
            finally:
                known.again = False
        key = known.key
        proven = hmac.compare_digest(_NO_KEY if key is None else key.digest, presented.digest)
        if key is None or not proven or not key.live or self._monotonic() >= known.live_until:
            return None
        return key

    def _look(self, key_id: str) -> _Lookup:
        began = self._monotonic()
        lookup = _Lookup(self._queries.api_key(key_id), began)
        if key_id not in self._known and len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[key_id] = lookup
        return lookup


class Callers:
    """Middleware: settles who calls before anything is read of the request's body. Needs keys unless ``keys`` is None.

    Raises ProblemError: 401 without a live key, 403 when the key has none of the operation's scopes.
    """

    def __init__(self, keys: KnownKeys | None) -> None:
        self._keys = keys

    def process_resource(
        self, req: falcon.Request, _resp: falcon.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        """See the class."""
        if self._keys is None:
            req.env[_ENV_KEY] = _ANYBODY
            return
        operation: Operation | None = getattr(resource, "operations", {}).get(req.method.lower())
        if operation is not None and operation.scopes:
            key = _authenticated(self._keys, req)
            if key.scopes.isdisjoint(operation.scopes):
                raise _out_of_scope(operation)
            req.env[_ENV_KEY] = Caller(key.merchant)
            remember_who(req, f"api-key:{key.key_id}")


def _authenticated(keys: KnownKeys, req: falcon.Request) -> ApiKey:
    given: str | None = req.env.get("HTTP_AUTHORIZATION")
    if not given:
        detail = "Send Authorization: Bearer with an API key."
        raise ProblemError(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
    bearer = _BEARER.fullmatch(given)
    presented = None if bearer is None else read_key(bearer[1])
    key = None if presented is None else keys.check(presented)
    if key is None:
        # The id is public. Anything else that was sent may be a secret of somebody.
        log.info(
            "an API key was refused",
            extra={"fields": {"key_id": presented and presented.key_id, "correlation_id": request_id(req)}},
        )
        detail = "The API key is none, or expired, or revoked."
        raise ProblemError(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return key


def _out_of_scope(operation: Operation) -> ProblemError:
    needed = " or ".join(scope for scope in Scope if scope in operation.scopes)
    scope = needed.replace(" or ", " ")
    challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
    return ProblemError(
        INSUFFICIENT_SCOPE, f"The API key needs the scope {needed}.", headers={"WWW-Authenticate": challenge}
    )


def caller_of(req: falcon.Request) -> Caller:
    """Whom the request speaks for. Raises KeyError for an operation without scopes, which knows of no caller."""
    caller: Caller = req.env[_ENV_KEY]
    return caller


def merchant_of(req: falcon.Request) -> str:
    """The merchant whose customers and transactions the request is about."""
    return caller_of(req).merchant
