"""How a resource describes its operations. ``api.openapi`` builds the document from these values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from marshmallow import Schema

from api.problems import (
    BODY_TOO_LARGE,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MALFORMED_BODY,
    NOT_FOUND,
    OUTCOME_UNKNOWN,
    POSITION_UNKNOWN,
    REQUEST_TIMEOUT,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemType,
)
from store.keys import Scope

JSON: Final = "application/json"

OPEN: Final[frozenset[Scope]] = frozenset()
WRITES: Final = frozenset({Scope.WRITE})
READS: Final = frozenset({Scope.READ})
OPERATES: Final = frozenset({Scope.OPERATIONS})

READ_PROBLEMS: Final = (INVALID_REQUEST, UNAVAILABLE, INTERNAL_ERROR)
"""Problems of a read."""

LIST_PROBLEMS: Final = (*READ_PROBLEMS, POSITION_UNKNOWN)
"""Problems of a list."""

OPERATOR_PROBLEMS: Final = (
    *READ_PROBLEMS,
    MALFORMED_BODY,
    REQUEST_TIMEOUT,
    NOT_FOUND,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    OUTCOME_UNKNOWN,
)
"""Problems of an operator's command on one resource."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The success answer of an operation. ``headers``: name to description; ``links``: name to OpenAPI link object.

    ``optional_headers`` are not on every answer.
    """

    status: int
    description: str
    schema: type[Schema] | None = None
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    optional_headers: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. The schemas also validate the requests."""

    operation_id: str
    tag: str
    summary: str
    description: str
    scopes: frozenset[Scope]
    """The scope that an API key needs; OPEN: no key is needed."""
    answer: Answer
    problems: tuple[ProblemType, ...] = ()
    body: type[Schema] | None = None
    body_examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    body_is_optional: bool = False
    """Whether an empty body is an empty object."""
    query: type[Schema] | None = None
    takes_key: bool = False
    """Whether it accepts an Idempotency-Key."""
    behind_keys: Mapping[str, Any] = field(default_factory=dict)
    """Fields that differ where API keys are required."""


class Documented(Protocol):
    """A resource with its operations by method in lower case."""

    operations: ClassVar[Mapping[str, Operation]]


class Signed:
    """A resource of signed requests: the signature alone validates the headers."""


class OpenToAll:
    """A public resource outside the document: assets of a page, and redirects to it."""
