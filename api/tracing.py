"""Correlation of a request with its effects: the request id in every answer, and the client's trace context.

Malformed values of a client, and values with a card number or a secret, are replaced or ignored, never refused.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from typing import Any, Final

import falcon

from api.headers import is_repeated
from api.patterns import CORRELATION_ID
from api.screening.envelope import found_in_header
from store.codec import Metadata

REQUEST_ID_HEADER: Final = "X-Request-ID"
TRACEPARENT_HEADER: Final = "traceparent"
_HEADER_KEY: Final = "x-request-id"
_ENV_KEY: Final = "payments.request_id"
_WHO: Final = "payments.who"

# https://www.w3.org/TR/trace-context/#traceparent-header: later versions than 00 may have further parts.
_IDS: Final = r"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT: Final = re.compile(rf"00-{_IDS}|(?!00|ff)[0-9a-f]{{2}}-{_IDS}(-[!-~]{{0,128}})?")


log = logging.getLogger(__name__)

_RANDOM_DIGITS: Final = 20
_DRAWN_AT_ONCE: Final = 128
_drawn: list[str] = []


def generate_request_id() -> str:
    """48 bits of milliseconds since 1970 and 80 random bits, in hexadecimal.

    The id is stored as the correlation id of a transaction. New ids are the last in its index, so a batch of
    transactions changes few pages of it.
    """
    beginning = f"{time.time_ns() // 1_000_000:012x}"
    # One system call for 128 ids. Taking from the end of a list is atomic, so that none is used twice.
    while True:
        try:
            return beginning + _drawn.pop()
        except IndexError:
            bits = os.urandom(_RANDOM_DIGITS // 2 * _DRAWN_AT_ONCE).hex()
            _drawn.extend(bits[at : at + _RANDOM_DIGITS] for at in range(0, len(bits), _RANDOM_DIGITS))


class RequestIds:
    """Middleware that gives every request an id, the client's or a new one, and repeats it in the answer."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Set the id."""
        self._settle(req.env)

    def process_response(self, req: falcon.Request, resp: falcon.Response, *_: object) -> None:
        """Repeat the id, also for requests that were refused before ``process_request``."""
        resp.set_header(_HEADER_KEY, req.env.get(_ENV_KEY) or self._settle(req.env))

    def _settle(self, env: dict[str, Any]) -> str:
        given: str | None = env.get("HTTP_X_REQUEST_ID")
        fits = (
            given
            and CORRELATION_ID.fullmatch(given)
            and not found_in_header(env, given)
            and not is_repeated(env, _HEADER_KEY)
        )
        settled = given if given and fits else self._new_id()
        env[_ENV_KEY] = settled
        return settled


def request_id(req: falcon.Request) -> str:
    """The id that RequestIds set; empty for a request without one."""
    settled: str = req.env.get(_ENV_KEY, "")
    return settled


def metadata(req: falcon.Request) -> Metadata:
    """The metadata of the events that this request causes."""
    traceparent: str | None = req.env.get("HTTP_TRACEPARENT")
    if traceparent is not None and (
        _TRACEPARENT.fullmatch(traceparent) is None
        or found_in_header(req.env, traceparent)
        or is_repeated(req.env, TRACEPARENT_HEADER)
    ):
        traceparent = None
    return Metadata(correlation_id=request_id(req), traceparent=traceparent, who=req.env.get(_WHO))


def remember_who(req: falcon.Request, who: str) -> None:
    """Set ``who`` in the metadata of the events that this request causes."""
    req.env[_WHO] = who


def log_operator_command(req: falcon.Request, what: str, **fields: object) -> None:
    """Log an operator's command before it is executed. It causes no event, so the log is its only trace."""
    log.warning(what, extra={"fields": {**fields, "who": req.env.get(_WHO), "correlation_id": request_id(req)}})
