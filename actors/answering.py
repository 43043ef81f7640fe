"""Answers to whoever waits outside the actors, when there is none but an error."""

from __future__ import annotations

from typing import Any

from actors.runtime.actor import Future
from store.errors import CommitUncertainError


def fail(reply: Future[Any], error: Exception) -> None:
    """Answer with ``error``; one after which nobody knows what was stored is no answer in time."""
    if isinstance(error, CommitUncertainError):
        error = TimeoutError(str(error))
    if not reply.done:
        reply.set_exception((type(error), error, None))
