"""GET /schemas/… and /asyncapi.json: public, complete, and cached as long as they hold."""

from __future__ import annotations

import pytest

from domain.events import EVENT_TYPES
from messaging.cloud_events import CloudEvents
from tests.api.support import PUBLIC_URL, Api
from tests.api.world import World


@pytest.mark.parametrize("needs_keys", [False, True])
def test_every_schema_is_served(*, needs_keys: bool) -> None:
    """Each event type has its schema, for everybody, and caches keep it for ever."""
    api = Api(World(), needs_keys=needs_keys)
    for name in EVENT_TYPES:
        result = api.get(f"/schemas/{name}.v1.json")
        assert result.status_code == 200
        assert result.headers["Content-Type"] == "application/json"
        assert result.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert result.json["$id"] == f"{PUBLIC_URL}/schemas/{name}.v1.json"


def test_the_attribute_of_a_message_leads_to_its_schema(api: Api, world: World) -> None:
    """The address in ``dataschema`` is that of a served schema for exactly this type."""
    world.give("c-1", 100)
    for message in CloudEvents(world, PUBLIC_URL).messages(world.all_events(None, after=0, limit=10), 0):
        schema = api.get(message.attributes["dataschema"].removeprefix(PUBLIC_URL)).json
        assert schema["$id"] == message.attributes["dataschema"]
        assert f"payments.{schema['properties']['event']['properties']['type']['const']}.v1" == message.type


@pytest.mark.parametrize(
    "path",
    [
        "/schemas/DepositReceived.v2.json",
        "/schemas/DepositReceived.json",
        "/schemas/DepositReceived",
        "/schemas/depositreceived.v1.json",
        "/schemas/DepositBlessed.v1.json",
        "/schemas/.v1.json",
        "/schemas/..%2Fevents.v1.json",
        "/schemas/%00.v1.json",
        "/schemas/DepositReceived.v1.json%0A",
        "/schemas/",
        "/schemas",
    ],
)
def test_unknown_schemas(api: Api, path: str) -> None:
    """Everything else is unknown, and no cache keeps the answer."""
    result = api.get(path)
    assert result.status_code == 404
    assert "immutable" not in result.headers.get("Cache-Control", "")


@pytest.mark.parametrize("needs_keys", [False, True])
def test_the_asyncapi_document_is_served(*, needs_keys: bool) -> None:
    """It is public, and names the address of the schemas."""
    result = Api(World(), needs_keys=needs_keys).get("/asyncapi.json")
    assert (result.status_code, result.headers["Content-Type"]) == (200, "application/json")
    assert result.json["asyncapi"] == "3.0.0"
    assert f"{PUBLIC_URL}/schemas/DepositCompleted.v1.json" in result.text


def test_a_query_is_refused(api: Api) -> None:
    """As on every route without a query."""
    assert api.get("/asyncapi.json?x=1").status_code == 400
    assert api.get("/schemas/DepositReceived.v1.json?x=1").status_code == 400
