"""Build the OpenAPI 3.0 document from the resources' operations and the schemas that validate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from api import idempotency
from api.operations import JSON, Documented, Operation
from api.patterns import CUSTOMER_ID, DEAD_LETTER_ID, GATEWAY_NAME, IDEMPOTENCY_KEY, REVIEW_ID, SCHEMA_FILE
from api.problems import IDEMPOTENCY_KEY_IN_FLIGHT, INSUFFICIENT_SCOPE, MEDIA_TYPE, UNAUTHENTICATED, ProblemType
from api.schemas.problems import ProblemSchema
from api.tracing import REQUEST_ID_HEADER

_PATH_PARAMETERS: Final[Mapping[str, dict[str, Any]]] = {
    "transaction_id": {"schema": {"type": "string", "format": "uuid"}, "description": "The id of the transaction."},
    "customer_id": {
        "schema": {"type": "string", "pattern": f"^{CUSTOMER_ID.pattern}$"},
        "description": "Your id of the customer.",
        "example": "12345",
    },
    "dead_letter_id": {
        "schema": {"type": "string", "pattern": f"^{DEAD_LETTER_ID.pattern}$"},
        "description": "The id of the dead letter.",
    },
    "callback_id": {
        "schema": {"type": "string", "pattern": f"^{DEAD_LETTER_ID.pattern}$"},
        "description": "The id of the stored callback.",
    },
    "review_id": {
        "schema": {"type": "string", "pattern": f"^{REVIEW_ID.pattern}$"},
        "description": "The id of the review.",
    },
    "schema_file": {
        "schema": {"type": "string", "pattern": f"^{SCHEMA_FILE.pattern}$"},
        "description": "The event type and the version of its schema.",
        "example": "DepositCompleted.v1.json",
    },
    "name": {
        "schema": {"type": "string", "pattern": f"^{GATEWAY_NAME.pattern}$"},
        "description": "The name of the gateway.",
        "example": "gatewayA",
    },
}
_NULLABLE: Final = ("Failure", "ReviewSaid", "ReviewExpected")
_API_KEY: Final = "apiKey"
_KEYS: Final = (
    "`Authorization: Bearer pgw_…`. A key belongs to one merchant and gives access to its customers and transactions."
)
_NAMES: Final = re.compile(r"\{([a-z_]+)\}")

_DESCRIPTION: Final = """Deposits, withdrawals, authorizations and refunds through several payment providers.

Every change is stored before the service acts on it, so a command with the answer 202 is never lost. A status is always
based on evidence; while the outcome is not known, it is `unknown`. Errors are problem documents (RFC 9457) that name
each wrong field."""

_REQUEST_ID: Final = {
    "name": REQUEST_ID_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Your id for the request, 1 to 128 visible ASCII characters. The service replaces any other. It "
    "becomes the correlation id of the events.",
}
_IDEMPOTENCY_KEY: Final = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": IDEMPOTENCY_KEY.pattern},
    "description": "Your key for this command, 1 to 255 visible ASCII characters, bare or in double quotes. A command "
    "with the same key is executed once, however often you send it. A different command with the same key is "
    "refused.",
}
_TRACEPARENT: Final = {
    "name": "traceparent",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The W3C trace context, stored with the events. It is ignored when it is malformed.",
}

_RETRY_AFTER: Final = {
    "schema": {"type": "integer", "minimum": 0},
    "description": "Seconds to wait before you send the request again.",
}


def build(routes: Iterable[tuple[str, Documented]], *, needs_keys: bool) -> bytes:
    """The document of ``routes`` (path templates and their resources) as JSON; ``needs_keys``: with API keys."""
    spec = APISpec(
        title="Payment gateway service",
        version="1",
        openapi_version="3.0.3",
        plugins=[MarshmallowPlugin()],
        info={"description": _DESCRIPTION},
        servers=[{"url": "/"}],
    )
    spec.components.header(
        REQUEST_ID_HEADER,
        {"schema": {"type": "string"}, "description": "The id of the request: yours, or a generated one."},
    )
    spec.components.header("Retry-After", _RETRY_AFTER)
    spec.components.header(
        "WWW-Authenticate", {"schema": {"type": "string"}, "description": "The authentication that is required."}
    )
    if needs_keys:
        spec.components.security_scheme(_API_KEY, {"type": "http", "scheme": "bearer", "description": _KEYS})
    for path, resource in routes:
        operations = {
            method: _operation(_behind_a_key(it) if needs_keys and it.scopes else it, needs_keys=needs_keys)
            for method, it in resource.operations.items()
        }
        parameters = [
            {"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]} for name in _NAMES.findall(path)
        ]
        spec.path(path, operations=operations, parameters=parameters)
    document = spec.to_dict()
    # In OpenAPI 3.0.3 a reference cannot be nullable, but its schema can.
    for name in _NULLABLE:
        document["components"]["schemas"][name]["nullable"] = True
    return orjson.dumps(document)


def _behind_a_key(it: Operation) -> Operation:
    (scope,) = it.scopes
    it = replace(it, **it.behind_keys)
    return replace(
        it,
        description=f"{it.description}\n\nNeeds an API key with the scope `{scope}`.",
        problems=(*it.problems, UNAUTHENTICATED, INSUFFICIENT_SCOPE),
    )


def _operation(it: Operation, *, needs_keys: bool) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [_REQUEST_ID]
    if it.query is not None:
        parameters.append({"in": "query", "schema": it.query})
    operation: dict[str, Any] = {
        "operationId": it.operation_id,
        "tags": [it.tag],
        "summary": it.summary,
        "description": it.description,
        "responses": _responses(it),
        "parameters": parameters,
    }
    if needs_keys and it.scopes:
        operation["security"] = [{_API_KEY: []}]
    if it.takes_key:
        parameters.append(_IDEMPOTENCY_KEY)
    if it.body is not None:
        parameters.append(_TRACEPARENT)
        content: dict[str, Any] = {"schema": it.body}
        if it.body_examples:
            content["examples"] = {name: {"value": value} for name, value in it.body_examples.items()}
        operation["requestBody"] = {"required": not it.body_is_optional, "content": {JSON: content}}
    return operation


def _responses(it: Operation) -> dict[str, Any]:
    answer = it.answer
    schema: type[Schema] | dict[str, str] = answer.schema or {
        "type": "object" if answer.media_type == JSON else "string"
    }
    success: dict[str, Any] = {
        "description": answer.description,
        "headers": {
            **{name: {"schema": {"type": "string"}, "description": text} for name, text in answer.headers.items()},
            **{
                name: {"schema": {"type": "string"}, "description": text, "required": False}
                for name, text in answer.optional_headers.items()
            },
            REQUEST_ID_HEADER: REQUEST_ID_HEADER,
        },
        "content": {answer.media_type: {"schema": schema}},
    }
    if answer.links:
        success["links"] = answer.links
    by_status: dict[int, list[ProblemType]] = {}
    for problem in it.problems:
        by_status.setdefault(problem.status, []).append(problem)
    return {
        str(answer.status): success,
        **{str(status): _problem_response(by_status[status]) for status in sorted(by_status)},
    }


def _problem_response(problems: list[ProblemType]) -> dict[str, Any]:
    headers: dict[str, object] = {REQUEST_ID_HEADER: REQUEST_ID_HEADER}
    if problems[0].status in {401, 403}:
        headers["WWW-Authenticate"] = "WWW-Authenticate"
    if problems[0].status == 503 or problems == [IDEMPOTENCY_KEY_IN_FLIGHT]:
        headers["Retry-After"] = "Retry-After"
    elif IDEMPOTENCY_KEY_IN_FLIGHT in problems:  # the other problems do not have it
        headers["Retry-After"] = {**_RETRY_AFTER, "required": False}
    return {
        "description": "; ".join(f"`{it.name}`: {it.title}" for it in problems),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": ProblemSchema, "examples": {it.name: _example(it) for it in problems}}},
    }


def _example(it: ProblemType) -> dict[str, Any]:
    return {"value": {"type": f"/problems/{it.name}", "title": it.title, "status": it.status, "detail": f"{it.title}."}}
