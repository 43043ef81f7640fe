"""Reads query strings through schemas: every field known, given once and valid, none with a card number or a secret."""

from __future__ import annotations

from typing import Any

import falcon
from marshmallow import Schema, ValidationError

from api.names import printable, printable_errors, refuse_flood, refuse_unknown
from api.problems import invalid
from api.sensitive_data import refuse_unwanted_in_query


def read_query(req: falcon.Request, schema: Schema) -> dict[str, Any]:
    """The query's fields as ``schema`` loads them. Raises ProblemError."""
    params = req.params
    refuse_unwanted_in_query(params)
    repeated = {printable(name): ["Given more than once."] for name, value in params.items() if isinstance(value, list)}
    if repeated:
        raise invalid(repeated)
    refuse_flood(params, schema.fields)
    try:
        loaded: dict[str, Any] = schema.load(params)
    except ValidationError as error:
        raise invalid(printable_errors(error.messages_dict)) from None
    return loaded


def refuse_query(req: falcon.Request) -> None:
    """Raises ProblemError when there is a query at all, for routes that know none."""
    if req.params:
        refuse_unwanted_in_query(req.params)
        refuse_unknown(req.params)
