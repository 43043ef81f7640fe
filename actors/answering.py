"""Error replies to callers outside the actors."""

from __future__ import annotations

from typing import Any

from actors.runtime.actor import Future
from store.errors import CommitUncertainError


def fail(reply: Future[Any], error: Exception) -> None:
    """Reply with ``error``. An uncertain commit becomes a TimeoutError."""
    if isinstance(error, CommitUncertainError):
        error = TimeoutError(str(error))
    if not reply.done:
        reply.set_exception((type(error), error, None))
