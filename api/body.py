"""Reads request bodies: media type, size, completeness, and what is left unread when a request is refused early.

Knows WSGI; knows nothing of what a body says.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, Final

import falcon

from api.problems import (
    BODY_TOO_LARGE,
    MALFORMED_BODY,
    REQUEST_TIMEOUT,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemError,
    invalid,
)
from api.screening.body import screen_body
from api.screening.names import printable
from domain.strict_json import Duplicated, MalformedError, parse

BODY_BYTES_MAX: Final = 64 * 1024
DRAIN_BYTES_MAX: Final = 1024 * 1024
_DRAIN_STEP_BYTES: Final = 64 * 1024

_JSON: Final = "application/json"
_JSON_WITH_CHARSET: Final = re.compile(r'application/json[ \t]*(;[ \t]*charset=("?)utf-8\2)?', re.ASCII | re.IGNORECASE)

AFTER_BODY: Final = "payments.after_body"
"""In a request's environment: to be called once its body is there, which may be long after its headers were."""

# Where a request's environment remembers how much of its body is still to be read (None: until it ends).
_LEFT: Final = "payments.body_left"

log = logging.getLogger(__name__)


def read_object(req: falcon.Request) -> dict[str, Any]:
    """The JSON object in the request's body, without card data and secrets. Raises ProblemError: 400, 408, 413, 415."""
    content_type = req.content_type
    if content_type != _JSON and (content_type is None or _JSON_WITH_CHARSET.fullmatch(content_type) is None):
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json, in UTF-8.")
    if (req.env.get("HTTP_CONTENT_ENCODING") or "identity").lower() != "identity":
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")
    data = _read(req.env)
    try:
        value = parse(data)
    except MalformedError as error:
        raise ProblemError(MALFORMED_BODY, str(error)) from None
    if isinstance(value, dict):
        screen_body(value, data)
        return value
    if isinstance(value, Duplicated):
        raise invalid({printable(value.name): ["Given more than once."]})
    raise ProblemError(MALFORMED_BODY, "The body must be a JSON object.")


def read_bytes(req: falcon.Request) -> bytes:
    """The request's body as it came, be it empty. Raises ProblemError: 400, 408, 413."""
    return b"" if _left(req.env) == 0 else _read(req.env)


def _read(env: dict[str, Any]) -> bytes:
    if env.get("HTTP_TRANSFER_ENCODING", "chunked").lower() != "chunked":  # the server undoes this one alone
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "Send the body without a Transfer-Encoding, or chunked.")
    left = _left(env)
    if left == 0:
        raise ProblemError(MALFORMED_BODY, "The body is empty.")
    if left is not None and left > BODY_BYTES_MAX:
        raise ProblemError(BODY_TOO_LARGE, f"At most {BODY_BYTES_MAX} bytes.")
    # One byte beyond the limit is asked of a body of unknown length: its arrival shows that the body is too large.
    data = _take(env, BODY_BYTES_MAX + 1 if left is None else left)
    if left is None and len(data) > BODY_BYTES_MAX:
        raise ProblemError(BODY_TOO_LARGE, f"At most {BODY_BYTES_MAX} bytes.")
    env[_LEFT] = 0
    if left is not None and len(data) < left:
        raise ProblemError(MALFORMED_BODY, "The body ended early.")
    confirm: Callable[[], None] | None = env.get(AFTER_BODY)
    if confirm is not None:
        confirm()
    return data


def _left(env: dict[str, Any]) -> int | None:
    """How many bytes of the body are still unread; None: to be read until it ends."""
    if _LEFT in env:
        left: int | None = env[_LEFT]
        return left
    if "chunked" in env.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    length: str = env.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise ProblemError(MALFORMED_BODY, "Content-Length is not a number of bytes.")
    return int(length)


def _take(env: dict[str, Any], size: int) -> bytes:
    stream = env["wsgi.input"]
    try:
        data: bytes = stream.read(size)
        while len(data) < size:
            more: bytes = stream.read(size - len(data))
            if not more:
                break
            data += more
    except TimeoutError:
        log.info("a request's body took too long")
        env[_LEFT] = 0
        raise ProblemError(REQUEST_TIMEOUT, "The body did not come to its end in time. Nothing was stored.") from None
    except Exception as error:  # noqa: BLE001  # a server's errors about what a client sent have no common base
        log.info("a request's body could not be read: %s", type(error).__name__)
        env[_LEFT] = 0
        raise ProblemError(MALFORMED_BODY, "The body could not be read to its end.") from None
    return data


def drain(env: dict[str, Any]) -> None:
    """Read what a refused request left unread, up to DRAIN_BYTES_MAX, so that its connection can serve the next.

    Of a larger body the rest is left to the server, which discards it or closes; one that announces more is not waited
    for at all, since it may never come, and the refusal can be told at once.
    """
    try:
        left = _left(env)
        if left is not None and left > DRAIN_BYTES_MAX:
            return
        budget = DRAIN_BYTES_MAX if left is None else min(left, DRAIN_BYTES_MAX)
        while budget > 0:
            got = len(_take(env, min(budget, _DRAIN_STEP_BYTES)))
            if got == 0:
                break
            budget -= got
        env[_LEFT] = 0
    except ProblemError:
        env[_LEFT] = 0  # whatever it is, it cannot be read; the refusal under way says more
