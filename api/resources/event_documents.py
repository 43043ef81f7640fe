"""The documents for consumers of events: a JSON Schema for each event type, and the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import falcon

from api.operations import OPEN, Answer, Operation
from api.problems import INVALID_REQUEST, NOT_FOUND, ProblemError
from api.screening.query import refuse_query

_FOR_EVER: Final = "public, max-age=31536000, immutable"


class EventDocuments(NamedTuple):
    """The documents, as JSON."""

    schemas: Mapping[str, bytes]
    """By the name of the file, such as ``DepositCompleted.v1.json``."""
    asyncapi: bytes


class EventSchemaResource:
    """``/schemas/{schema_file}``, such as ``DepositCompleted.v1.json``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getEventSchema",
            scopes=OPEN,
            tag="Documentation",
            summary="Get the schema of an event type",
            description="Returns the JSON Schema (draft 2020-12) of the data of published events of this type. Their "
            "attribute `dataschema` names it. A version of a schema never changes in a way that breaks a consumer.",
            answer=Answer(200, "The schema.", headers={"Cache-Control": "The schema may be cached for ever."}),
            problems=(INVALID_REQUEST, NOT_FOUND),
        )
    }

    def __init__(self, schemas: Mapping[str, bytes]) -> None:
        self._schemas = schemas

    def on_get(self, req: falcon.Request, resp: falcon.Response, schema_file: str) -> None:
        """Get a schema."""
        refuse_query(req)
        schema = self._schemas.get(schema_file)
        if schema is None:
            raise ProblemError(NOT_FOUND, "No such schema.")
        resp.set_header("cache-control", _FOR_EVER)
        resp.data = schema


class AsyncApiResource:
    """``/asyncapi.json``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getAsyncApi",
            scopes=OPEN,
            tag="Documentation",
            summary="Get the AsyncAPI document",
            description="Returns an AsyncAPI 3.0 document: the channels of events on brokers, and each message.",
            answer=Answer(200, "The document."),
            problems=(INVALID_REQUEST,),
        )
    }

    def __init__(self, document: bytes) -> None:
        self._document = document

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the AsyncAPI document."""
        refuse_query(req)
        resp.data = self._document
