"""The table of all problems that the API returns (RFC 9457): names, status codes and titles. Independent of Falcon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from actors.customer.idempotency import KEY_REUSED

MEDIA_TYPE: Final = "application/problem+json"


class ProblemType(NamedTuple):
    """A type of problem. ``name`` is the last part of its ``type`` and stable for programs; ``title`` is for people."""

    name: str
    status: int
    title: str


INVALID_REQUEST: Final = ProblemType("invalid-request", 400, "The request is not valid")
MALFORMED_BODY: Final = ProblemType("malformed-body", 400, "The body cannot be read")
UNVERIFIED: Final = ProblemType("callback-unverified", 401, "Signature verification failed")
UNAUTHENTICATED: Final = ProblemType("unauthenticated", 401, "A valid API key is required")
INSUFFICIENT_SCOPE: Final = ProblemType("insufficient-scope", 403, "The API key lacks the required scope")
NOT_FOUND: Final = ProblemType("not-found", 404, "The resource does not exist")
METHOD_NOT_ALLOWED: Final = ProblemType("method-not-allowed", 405, "The method is not allowed")
REQUEST_TIMEOUT: Final = ProblemType("request-timeout", 408, "The request was not received in time")
NOT_DISCARDABLE: Final = ProblemType("not-discardable", 409, "Discarding could falsify the record")
GATEWAY_NOT_CONFIGURED: Final = ProblemType("gateway-not-configured", 409, "The gateway is not configured")
IDEMPOTENCY_KEY_IN_FLIGHT: Final = ProblemType(
    "idempotency-key-in-flight", 409, "The first request with this key is in progress"
)
STALE_VERSION: Final = ProblemType("stale-version", 409, "The transaction has a newer version")
ALREADY_FINAL: Final = ProblemType("already-final", 409, "The transaction has a final status")
STILL_UNDER_WAY: Final = ProblemType("still-under-way", 409, "The transaction is being sent to its gateway")
DEAD_LETTER_BUSY: Final = ProblemType("dead-letter-busy", 409, "The dead letter is being processed")
NOT_POSSIBLE_NOW: Final = ProblemType("not-possible-now", 409, "The status of the transaction does not permit this")
POSITION_UNKNOWN: Final = ProblemType("position-unknown", 410, "The position or cursor is unknown")
BODY_TOO_LARGE: Final = ProblemType("body-too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE: Final = ProblemType("unsupported-media-type", 415, "The body must be JSON")
REFUSED: Final = ProblemType("refused", 422, "The command was refused")
INSUFFICIENT_FUNDS: Final = ProblemType("insufficient-funds", 422, "The available balance is too low")
AMOUNT_TOO_LARGE: Final = ProblemType("amount-too-large", 422, "The amount is above what is left")
NOT_SUPPORTED: Final = ProblemType("not-supported", 422, "The gateway does not support this")
NO_SUCH_CUSTOMER: Final = ProblemType("no-such-customer", 422, "The customer has no events")
IDEMPOTENCY_KEY_REUSED: Final = ProblemType(KEY_REUSED, 422, "The key was used for another command")
INTERNAL_ERROR: Final = ProblemType("internal-error", 500, "The service failed unexpectedly")
UNAVAILABLE: Final = ProblemType("unavailable", 503, "The service is temporarily unavailable")
NOT_READY: Final = ProblemType("not-ready", 503, "The service is not ready")
OUTCOME_UNKNOWN: Final = ProblemType("outcome-unknown", 504, "Whether the request was stored is unknown")

PROBLEMS: Final[Mapping[str, ProblemType]] = {
    problem.name: problem
    for problem in (
        INVALID_REQUEST,
        MALFORMED_BODY,
        IDEMPOTENCY_KEY_IN_FLIGHT,
        UNVERIFIED,
        UNAUTHENTICATED,
        INSUFFICIENT_SCOPE,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        REQUEST_TIMEOUT,
        NOT_DISCARDABLE,
        STALE_VERSION,
        ALREADY_FINAL,
        STILL_UNDER_WAY,
        GATEWAY_NOT_CONFIGURED,
        DEAD_LETTER_BUSY,
        NOT_POSSIBLE_NOW,
        POSITION_UNKNOWN,
        BODY_TOO_LARGE,
        UNSUPPORTED_MEDIA_TYPE,
        REFUSED,
        INSUFFICIENT_FUNDS,
        AMOUNT_TOO_LARGE,
        NOT_SUPPORTED,
        NO_SUCH_CUSTOMER,
        IDEMPOTENCY_KEY_REUSED,
        INTERNAL_ERROR,
        UNAVAILABLE,
        NOT_READY,
        OUTCOME_UNKNOWN,
    )
}

# The problems of the framework itself, by status.
_BY_STATUS: Final[Mapping[int, ProblemType]] = {
    problem.status: problem
    for problem in (
        INVALID_REQUEST,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        BODY_TOO_LARGE,
        UNSUPPORTED_MEDIA_TYPE,
        INTERNAL_ERROR,
        UNAVAILABLE,
    )
}

Errors = Mapping[str, Sequence[str]]
"""Messages by field or header."""


class ProblemError(Exception):
    """Ends a request with a problem. ``extensions`` are further members, such as ``transaction_id``."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        errors: Errors | None = None,
        headers: Mapping[str, str] | None = None,
        **extensions: object,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.extensions = extensions

    def body(self) -> dict[str, object]:
        """The members of the problem document."""
        members: dict[str, object] = {
            "type": f"/problems/{self.kind.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        if self.errors:
            members["errors"] = self.errors
        members.update(self.extensions)
        return members


def invalid(errors: Errors) -> ProblemError:
    """400: these fields or headers are wrong."""
    return ProblemError(INVALID_REQUEST, f"Wrong: {', '.join(errors)}.", errors=errors)


def unavailable(detail: str, retry_after_s: int = 1) -> ProblemError:
    """503: nothing was stored, and the client may repeat the request after ``retry_after_s``."""
    return ProblemError(UNAVAILABLE, detail, headers={"Retry-After": str(retry_after_s)})


def by_status(status: int) -> ProblemType:
    """The type for a bare status code."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return ProblemType(f"http-{status}", status, "The request cannot be served")
