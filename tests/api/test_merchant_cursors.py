"""With API keys: a merchant sees cursors instead of positions, which would reveal the volume of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.paging import CursorKind, Place, encode_cursor
from store.keys import Scope
from tests.api.support import Api
from tests.api.test_callers import Scenario, guarded, internals, scenario
from tests.api.world import World

__all__ = ["guarded", "internals", "scenario"]


def names_in(it: Any) -> Iterator[str]:
    """Every member's name in a JSON value."""
    if isinstance(it, dict):
        yield from it
        for value in it.values():
            yield from names_in(value)
    elif isinstance(it, list):
        for value in it:
            yield from names_in(value)


def test_no_position_in_any_answer(scenario: Scenario) -> None:
    """No position is in the feed, in a customer's events, or in the document."""
    for path in ("/v1/events", "/v1/customers/12345/events", "/v1/transactions", "/v1/dead-letters", "/v1/reviews"):
        answer = scenario.api.get(path)
        assert answer.json["items"], path
        assert "position" not in set(names_in(answer.json)), path
    assert "position" not in set(names_in(scenario.api.document["components"]["schemas"]["MerchantEvent"]))


def test_cursors_do_not_depend_on_other_merchants(scenario: Scenario) -> None:
    """Cursors are equal byte for byte, whatever other merchants do before, between and after the requests."""
    scenario.world.give("other", 100, merchant="globex")
    before = scenario.api.get("/v1/events").json
    latest = scenario.api.get("/v1/events?after=latest").json
    for _ in range(5):
        scenario.world.give("other", 100, merchant="globex")
    assert scenario.api.get("/v1/events").json == before
    assert scenario.api.get("/v1/events?after=latest").json == latest


def test_each_event_is_returned_once(scenario: Scenario) -> None:
    """A client that continues from cursor to cursor gets each event once, in pages and after the last page."""
    for number in range(3):
        scenario.world.give(f"c{number}", 100, merchant="acme")
        scenario.world.give(f"c{number}", 100, merchant="globex")
    everything = scenario.api.get("/v1/events?limit=200").json["items"]
    seen: list[dict[str, Any]] = []
    query = "limit=2"
    while page := scenario.api.get(f"/v1/events?{query}").json["items"]:
        seen += page
        query = f"limit=2&after={page[-1]['cursor']}"
    assert seen == everything
    assert {event["stream_name"] for event in seen} == {"acme"}
    first = scenario.api.get("/v1/events?limit=1").json
    assert first["next_cursor"] == everything[0]["cursor"]
    assert scenario.api.get(f"/v1/events?after={first['next_cursor']}").json["items"] == everything[1:]
    latest = scenario.api.get("/v1/events?after=latest").json
    assert latest == {"items": [], "next_cursor": everything[-1]["cursor"]}
    assert scenario.api.get(f"/v1/events?after={latest['next_cursor']}").json["items"] == []
    scenario.world.give("c9", 100, merchant="acme")
    assert len(scenario.api.get(f"/v1/events?after={latest['next_cursor']}").json["items"]) == 3


def test_a_merchant_without_events(scenario: Scenario) -> None:
    """The latest place of a merchant without events is a cursor from which its first event is returned."""
    scenario.api.key = scenario.make("newcomer", set(Scope))
    latest = scenario.api.get("/v1/events?after=latest").json["next_cursor"]
    assert scenario.api.get("/v1/events").json == {"items": [], "next_cursor": None}
    assert scenario.api.get(f"/v1/events?after={latest}").json["items"] == []
    scenario.world.give("c1", 100, merchant="newcomer")
    assert len(scenario.api.get(f"/v1/events?after={latest}").json["items"]) == 3


def test_other_cursors_are_refused(scenario: Scenario) -> None:
    """A position is not a cursor. The cursor of another merchant's event, or of a missing event, is unknown."""
    for after in ("0", "1", "7", "Latest", "djE", ""):
        assert scenario.api.get("/v1/events", params={"after": after}).status_code == 400
    mine = scenario.api.get("/v1/events").json["items"][-1]["cursor"]
    scenario.api.key = scenario.keys["globex"]
    theirs = scenario.api.get(f"/v1/events?after={mine}")
    assert (theirs.status_code, theirs.json["type"]) == (410, "/problems/position-unknown")
    scenario.api.key = scenario.keys["all"]
    scenario.world.generation = 1
    assert scenario.api.get(f"/v1/events?after={mine}").status_code == 410
    now = scenario.api.get("/v1/events").json["items"][-1]
    assert now["generation"] == 1
    assert scenario.api.get(f"/v1/events?after={now['cursor']}").json["items"] == []


def test_a_replaced_event_has_another_cursor(scenario: Scenario) -> None:
    """An event that replaced another has a different hash, also in the same generation."""
    event = scenario.api.get("/v1/events").json["items"][-1]
    forged = Place(f"{event['version']}.{'0' * 16}.{event['stream_id']}")
    cursor = encode_cursor(CursorKind.EVENTS, *forged)
    assert scenario.api.get(f"/v1/events?after={cursor}").status_code == 410


@pytest.mark.parametrize("needs_keys", [False, True])
def test_the_document_describes_cursors(*, needs_keys: bool) -> None:
    """The document describes the schemas of an event and of the query as they are with or without keys."""
    api = Api(World(), needs_keys=needs_keys)
    operation = api.document["paths"]["/v1/events"]["get"]
    text = json.dumps(operation["responses"]["200"])
    assert ("MerchantEventList" in text) is needs_keys
    after = next(it for it in operation["parameters"] if it["name"] == "after")
    assert ("oneOf" in after["schema"]) is not needs_keys
    assert "410" in operation["responses"]
