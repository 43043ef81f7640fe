"""Query strings: each field known, given once, valid, and without card numbers and secrets."""

from __future__ import annotations

from typing import Any

import falcon
from marshmallow import Schema, ValidationError

from api.problems import invalid
from api.screening.body import texts_of
from api.screening.envelope import is_clean
from api.screening.names import printable, printable_errors, refuse_flood, refuse_unknown
from api.screening.sensitive_data import found_in


def read_query(req: falcon.Request, schema: Schema) -> dict[str, Any]:
    """Load the query's fields by ``schema``. Raises ProblemError that names the wrong fields."""
    params = req.params
    _refuse_sensitive(req)
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
    """Refuse any query, for routes without query fields. Raises ProblemError."""
    if req.params:
        _refuse_sensitive(req)
        refuse_unknown(req.params)


def _refuse_sensitive(req: falcon.Request) -> None:
    if is_clean(req.env):
        return
    wrong = {name: found for name, value in req.params.items() if (found := found_in(*texts_of({name: value})))}
    if wrong:
        raise invalid({printable(name): found for name, found in wrong.items()})
