"""Callbacks of gateways: read as raw bytes, then verified and applied by the actors.

A forged callback is not stored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import ClassVar

import falcon

from actors.payments import Payments
from actors.replies import NotStored, SignatureInvalid, Taken
from api.body import read_bytes
from api.headers import is_repeated
from api.operations import OPEN, Answer, Operation, Signed
from api.problems import (
    BODY_TOO_LARGE,
    INTERNAL_ERROR,
    MALFORMED_BODY,
    NOT_FOUND,
    OUTCOME_UNKNOWN,
    REQUEST_TIMEOUT,
    UNAVAILABLE,
    UNVERIFIED,
    ProblemError,
    unavailable,
)
from api.schemas.common import StateSchema
from api.tracing import metadata, request_id

log = logging.getLogger(__name__)


class CallbackResource(Signed):
    """``/v1/callbacks/{name}``, with or without trailing slashes and a query (``api.screening.envelope``)."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "post": Operation(
            operation_id="receiveCallback",
            scopes=OPEN,
            tag="Callbacks",
            summary="Receive a gateway's callback",
            description="For gateways only. Each gateway signs its callbacks in its own way. A verified callback is "
            "stored unchanged before the answer 200, regardless of its content, and is applied once per event id. The "
            "query, the media type and slashes at the end of the path are ignored. A signed header that occurs twice "
            "makes the signature invalid. A callback may report on several transactions; the answer is sent after "
            "all reports are stored. Some gateways get another answer, which they expect. After any error, send the "
            "callback again.",
            answer=Answer(200, "The callback is stored.", StateSchema),
            problems=(
                MALFORMED_BODY,
                REQUEST_TIMEOUT,
                UNVERIFIED,
                NOT_FOUND,
                BODY_TOO_LARGE,
                INTERNAL_ERROR,
                UNAVAILABLE,
                OUTCOME_UNKNOWN,
            ),
        )
    }

    def __init__(self, payments: Payments) -> None:
        self._payments = payments

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Receive a callback."""
        if name not in self._payments.gateway_currencies():
            raise ProblemError(NOT_FOUND, "No such gateway.")
        body = read_bytes(req)
        given = ((header.lower(), value) for header, value in req.headers.items())
        headers = {header: value for header, value in given if not is_repeated(req.env, header)}
        try:
            reply = self._payments.callback(name, headers, body, metadata(req))
        except Exception:  # the gateway repeats it, and its event id identifies it
            log.exception("a callback ended without a reply", extra={"fields": {"correlation_id": request_id(req)}})
            raise ProblemError(
                OUTCOME_UNKNOWN,
                "Whether the callback was stored is not known. Send it again: its event id identifies it.",
            ) from None
        if isinstance(reply, SignatureInvalid):
            detail = "Signature verification failed, or the timestamp is out of range. Nothing was stored."
            raise ProblemError(UNVERIFIED, detail, headers={"WWW-Authenticate": "Signature"})
        if isinstance(reply, NotStored):
            raise unavailable(reply.reason, reply.retry_after_s)
        if isinstance(reply, Taken):
            accepted = self._payments.callback_acceptance(name)
            resp.status, resp.content_type, resp.data = str(accepted.status), accepted.media_type, accepted.body
            return
        raise ProblemError(
            OUTCOME_UNKNOWN, "Whether the callback was stored is not known. Send it again: its event id identifies it."
        )
