"""Answers to bytes on a connection that are not an HTTP request."""

from __future__ import annotations

import orjson

from api.metrics.meters import Meters
from api.problems import MEDIA_TYPE, ProblemError, by_status
from api.tracing import generate_request_id


class UnreadableRequests:
    """Makes the problem documents for unreadable requests, and counts them."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def __call__(self, status: int, detail: str) -> tuple[str, str, bytes]:
        """Return the request id, media type and body of the answer."""
        self._meters.unreadable_requests.labels(str(status)).inc()
        return generate_request_id(), MEDIA_TYPE, orjson.dumps(ProblemError(by_status(status), detail).body())
