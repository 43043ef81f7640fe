"""What an answer says: whether the service itself gave it, and whether an order was carried out.

Between a command and the service there may be proxies, whose refusals look like the service's. Only a problem document
of the service says that an order was not carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from api.problems import (
    IDEMPOTENCY_KEY_IN_FLIGHT,
    INTERNAL_ERROR,
    MEDIA_TYPE,
    OUTCOME_UNKNOWN,
    PROBLEMS,
    by_status,
)
from cli.command import Exit

_TYPES: Final = "/problems/"
_LATER: Final = frozenset({408, 429, 503})
_DOUBT: Final = frozenset({INTERNAL_ERROR.name, OUTCOME_UNKNOWN.name, IDEMPOTENCY_KEY_IN_FLIGHT.name})
"""Problems of the service after which an order may have been, or may still be, carried out."""


def is_success(status: int, answer: object, members: Sequence[str]) -> bool:
    """Whether it is the service's success: an object with the ``members`` that its answer has."""
    return 200 <= status < 300 and isinstance(answer, dict) and all(name in answer for name in members)


def meaning_of_failure(status: int, media_type: str, answer: object) -> Exit:
    """What anything but success says of an order."""
    name = _own_problem(status, media_type, answer)
    if name is None or name in _DOUBT:
        return Exit.UNKNOWN
    return Exit.UNREACHABLE if status in _LATER else Exit.FAILED


def meaning_of_a_read(status: int) -> Exit:
    """What anything but success says of a read, which changes nothing."""
    return Exit.UNREACHABLE if status in _LATER or status >= 500 else Exit.FAILED


def is_problem(answer: object) -> bool:
    """Whether it says in its ``detail`` what is wrong, as the service does and others may."""
    return isinstance(answer, dict) and isinstance(answer.get("detail"), str)


def _own_problem(status: int, media_type: str, answer: Any) -> str | None:  # noqa: ANN401  # any JSON value
    """The name of the service's problem that this is; None for anything else."""
    if media_type != MEDIA_TYPE or not is_problem(answer):
        return None
    kind = answer.get("type")
    if answer.get("status") != status or not isinstance(kind, str) or not kind.startswith(_TYPES):
        return None
    name = kind.removeprefix(_TYPES)
    known = PROBLEMS.get(name, by_status(status) if 400 <= status < 500 else None)
    return name if known is not None and (known.name, known.status) == (name, status) else None
