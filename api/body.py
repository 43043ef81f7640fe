"""Reading of request bodies: media type, size, completeness, and the unread rest after an early refusal.

Independent of the content of a body.
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
"""The key in a request's environ for a function to call after the body was read, possibly long after the headers."""

# The key in a request's environ for the unread bytes of its body (None: until its end).
_LEFT: Final = "payments.body_left"

log = logging.getLogger(__name__)


def read_object(req: falcon.Request) -> dict[str, Any]:
    """Read the JSON object in the body; sensitive data are refused. Raises ProblemError: 400, 408, 413, 415."""
    _refuse_other_media(req)
    return _object_in(_read(req.env))


def read_object_if_any(req: falcon.Request) -> dict[str, Any]:
    """Read the JSON object in the body, where an empty body of any media type is an empty object. Raises as above."""
    env = req.env
    _refuse_other_framing(env)
    left = _left(env)
    if left == 0:
        return {}
    if left is not None:
        return read_object(req)
    data = _read(env)  # only the end of a body of unknown length shows whether it is empty
    if not data:
        return {}
    _refuse_other_media(req)
    return _object_in(data)


def read_bytes(req: falcon.Request) -> bytes:
    """Read the raw body, which may be empty. Raises ProblemError: 400, 408, 413."""
    return b"" if _left(req.env) == 0 else _read(req.env)


def _refuse_other_media(req: falcon.Request) -> None:
    content_type = req.content_type
    if content_type != _JSON and (content_type is None or _JSON_WITH_CHARSET.fullmatch(content_type) is None):
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json, in UTF-8.")
    if (req.env.get("HTTP_CONTENT_ENCODING") or "identity").lower() != "identity":
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")


def _object_in(data: bytes) -> dict[str, Any]:
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


def _refuse_other_framing(env: dict[str, Any]) -> None:
    if env.get("HTTP_TRANSFER_ENCODING", "chunked").lower() != "chunked":  # the only encoding that the server decodes
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, "Send the body without a Transfer-Encoding, or chunked.")


def _read(env: dict[str, Any]) -> bytes:
    _refuse_other_framing(env)
    left = _left(env)
    if left == 0:
        raise ProblemError(MALFORMED_BODY, "The body is empty.")
    if left is not None and left > BODY_BYTES_MAX:
        raise ProblemError(BODY_TOO_LARGE, f"At most {BODY_BYTES_MAX} bytes.")
    # For a body of unknown length, one byte beyond the limit shows that the body is too large.
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
    """The number of unread bytes of the body; None: until its end."""
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
        raise ProblemError(REQUEST_TIMEOUT, "The body was not received in time. Nothing was stored.") from None
    except Exception as error:  # noqa: BLE001  # the server's errors about a body have no common base class
        log.info("a request's body could not be read: %s", type(error).__name__)
        env[_LEFT] = 0
        raise ProblemError(MALFORMED_BODY, "The body could not be read to its end.") from None
    return data


def drain(env: dict[str, Any]) -> None:
    """Read the rest of a refused request's body, up to DRAIN_BYTES_MAX, so that its connection can serve the next.

    The server discards the rest of a larger body, or closes the connection. A body that announces more is not read at
    all: it may never arrive, and the refusal need not wait for it.
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
        env[_LEFT] = 0  # the body is unreadable, and the refusal in progress states the reason
