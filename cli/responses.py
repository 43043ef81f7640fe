"""Interpretation of responses: whether the service itself sent one, and whether a command was carried out.

Proxies between a command and the service may refuse requests with the same statuses. Only a problem document of the
service proves that a command was not carried out.
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
_INCONCLUSIVE: Final = frozenset({INTERNAL_ERROR.name, OUTCOME_UNKNOWN.name, IDEMPOTENCY_KEY_IN_FLIGHT.name})
"""Problems of the service after which a command may have been, or may still be, carried out."""


def is_success(status: int, answer: object, members: Sequence[str]) -> bool:
    """Whether the answer is a success of the service: an object with these ``members``."""
    return 200 <= status < 300 and isinstance(answer, dict) and all(name in answer for name in members)


def meaning_of_failure(status: int, media_type: str, answer: object) -> Exit:
    """The exit status of a command for any answer but success."""
    name = _own_problem(status, media_type, answer)
    if name is None or name in _INCONCLUSIVE:
        return Exit.UNKNOWN
    return Exit.UNREACHABLE if status in _LATER else Exit.FAILED


def meaning_of_a_read(status: int) -> Exit:
    """The exit status of a read for any answer but success."""
    return Exit.UNREACHABLE if status in _LATER or status >= 500 else Exit.FAILED


def is_problem(answer: object) -> bool:
    """Whether the answer is an object with a ``detail``; proxies may send one, too."""
    return isinstance(answer, dict) and isinstance(answer.get("detail"), str)


def _own_problem(status: int, media_type: str, answer: Any) -> str | None:  # noqa: ANN401  # any JSON value
    """The name of the service's problem; None for any other answer."""
    if media_type != MEDIA_TYPE or not is_problem(answer):
        return None
    kind = answer.get("type")
    if answer.get("status") != status or not isinstance(kind, str) or not kind.startswith(_TYPES):
        return None
    name = kind.removeprefix(_TYPES)
    known = PROBLEMS.get(name, by_status(status) if 400 <= status < 500 else None)
    return name if known is not None and (known.name, known.status) == (name, status) else None
