"""Headers that may occur only once. WSGI joins repeated headers with commas, so the server reports them separately."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from api.problems import invalid

REPEATED: Final = "payments.repeated_headers"
"""The key in a request's environ for the lower-case names of repeated headers."""
UNDERSCORED: Final = "payments.underscored_headers"
"""The key in a request's environ for the names of headers with underscores, which were dropped; here with hyphens."""

READ: Final = ("Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "traceparent", "X-Request-ID")
"""All headers that an operation reads. The server handles those that frame a request."""
_MUST_ARRIVE: Final = "Idempotency-Key"
"""Dropping this header silently would change the command."""


def is_repeated(env: dict[str, Any], name: str) -> bool:
    """Whether the header ``name``, in lower case, is repeated, so that its value is unusable."""
    repeated: Collection[str] = env.get(REPEATED, ())
    return name in repeated


def refuse_repeated(env: dict[str, Any]) -> None:
    """Refuse repeated headers. Raises ProblemError, which names them."""
    if not (env.get(REPEATED) or env.get(UNDERSCORED)):
        return
    wrong = {name: ["Given more than once."] for name in READ if is_repeated(env, name.lower())}
    if _MUST_ARRIVE.lower() in env.get(UNDERSCORED, ()):
        wrong.setdefault(_MUST_ARRIVE, []).append("Spelled with an underscore. Send it with a hyphen.")
    if wrong:
        raise invalid(wrong)
