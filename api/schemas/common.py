"""Shared parts of the schemas: field helpers for answers, pages, operator commands, and loading by a schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from marshmallow import RAISE, Schema, ValidationError, fields

from api.fields import Limit, Reason, Text
from api.patterns import CUSTOMER_ID, GATEWAY_NAME
from api.problems import invalid
from api.schemas.loading import RequestSchema
from api.screening.names import printable_errors, refuse_flood

AMOUNT: Final = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"
CUSTOMER_ID_WRONG: Final = "Not 1 to 128 of A-Z a-z 0-9 . _ : @ -"
GATEWAY_WRONG: Final = "No such gateway."


def text(description: str, **words: Any) -> fields.String:
    """A string in an answer; ``words`` are further OpenAPI keywords."""
    return fields.String(required=True, metadata={"description": description, **words})


def text_or_null(description: str, **words: Any) -> fields.String:
    """A string or null in an answer."""
    return fields.String(required=True, allow_none=True, metadata={"description": description, **words})


def integer(description: str, **words: Any) -> fields.Integer:
    """An integer in an answer."""
    return fields.Integer(required=True, metadata={"description": description, **words})


def time(description: str) -> fields.String:
    """An RFC 3339 time in UTC in an answer."""
    return text(description, format="date-time", example="2026-11-22T12:00:00.000000Z")


def time_or_null(description: str) -> fields.String:
    """An RFC 3339 time in UTC, or null, in an answer."""
    return text_or_null(description, format="date-time")


def strings(description: str) -> fields.Dict:
    """An object of strings in an answer."""
    return fields.Dict(
        keys=fields.String(), values=fields.String(), required=True, metadata={"description": description}
    )


def next_cursor() -> fields.String:
    """The cursor of the next page."""
    return text_or_null("The `cursor` of the next page. Null on the last page.")


def customer_id() -> fields.String:
    """The customer's id in an answer."""
    return text("Your id of the customer.", example="12345")


def gateway_filter() -> Text:
    """The filter ``gateway`` of a list."""
    return Text(GATEWAY_NAME, GATEWAY_WRONG, metadata={"description": "Select this gateway only."})


def customer_filter() -> Text:
    """The filter ``customer_id`` of a list."""
    return Text(CUSTOMER_ID, CUSTOMER_ID_WRONG, metadata={"description": "Select this customer only."})


class OperatorCommandSchema(RequestSchema):
    """The body of a command of an operator, who must state a reason."""

    class Meta:
        """Unknown fields are refused."""

        unknown = RAISE

    reason = Reason(required=True, metadata={"description": "The reason, kept on record."})


class PageSchema(RequestSchema):
    """The query of a list."""

    limit = Limit(metadata={"description": "The largest number of items on a page."})


class StateSchema(Schema):
    """The state of the service."""

    status = text("`ok`, or `ready` for the readiness check.", enum=["ok", "ready"])


def read_fields(raw: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Load the JSON object ``raw`` by ``schema``. Raises ProblemError that names every wrong field."""
    loaded, wrong = read_valid_fields(raw, schema)
    if wrong:
        raise invalid(wrong)
    return loaded


def read_valid_fields(raw: Mapping[str, Any], schema: Schema) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The fields of the JSON object ``raw`` that are valid by ``schema``, and the errors of the others by name.

    Raises ProblemError for very many unknown names.
    """
    refuse_flood(raw, schema.fields)
    try:
        return schema.load(raw), {}
    except ValidationError as error:
        valid = error.valid_data if isinstance(error.valid_data, dict) else {}
        return valid, printable_errors(error.messages_dict)


def known_gateway(given: Mapping[str, Any], gateways: Collection[str]) -> str | None:
    """The filter ``gateway``, if given. Raises ProblemError when no such gateway is configured."""
    gateway: str | None = given.get("gateway")
    if gateway is not None and gateway not in gateways:
        raise invalid({"gateway": [GATEWAY_WRONG]})
    return gateway
