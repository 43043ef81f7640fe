"""Positions and cursors contain the generation. A client that continues from before a restore gets 410."""

from __future__ import annotations

import pytest

from api.paging import CursorKind, decode_cursor
from api.resources.events import Feed
from store.port import StreamKey
from tests.api.support import Api
from tests.api.world import World

SPAN = 2**40


def is_unknown(answer: object, generation: int) -> bool:
    """Whether it is the problem ``position-unknown``."""
    body = answer.json  # type: ignore[attr-defined]
    return (answer.status_code, body.get("type"), body.get("generation")) == (  # type: ignore[attr-defined]
        410,
        "/problems/position-unknown",
        generation,
    )


def test_a_position_beyond_the_end_is_unknown(api: Api, world: World) -> None:
    """A position beyond the end belongs to a lost state or to another service.

    It gets 410 at once, whatever the wait.
    """
    world.give("c1", 100)
    assert api.get("/v1/events?after=3").json["items"] == []
    for after in (4, SPAN - 1, SPAN, 2**53, 2**63 - 1):
        assert is_unknown(api.get(f"/v1/events?after={after}&wait=30"), 0)


def test_positions_in_the_next_generation(api: Api, world: World) -> None:
    """Positions ascend over generations. Positions of an earlier one are unknown, and 0 is the beginning in each."""
    world.give("c1", 100)
    before = api.get("/v1/events").json["items"]
    assert {event["generation"] for event in before} == {0}
    latest = api.get("/v1/events?after=latest").json["next_cursor"]
    world.generation = 1
    for after in (1, 3, latest):
        assert is_unknown(api.get(f"/v1/events?after={after}"), 1)
    now = api.get("/v1/events?after=0").json["items"]
    assert [event["position"] for event in now] == [SPAN + 1, SPAN + 2, SPAN + 3]
    assert {event["generation"] for event in now} == {1}
    assert api.get("/v1/events").json["items"] == now
    assert api.get("/v1/events?limit=1").json["next_cursor"] == str(SPAN + 1)
    assert api.get(f"/v1/events?after={SPAN + 1}").json["items"] == now[1:]
    assert api.get("/v1/events?after=latest").json["next_cursor"] == str(SPAN + 3)
    assert api.get("/v1/customers/c1/events").json["items"] == now
    assert max(event["position"] for event in now) < 2**53


def test_a_restore_during_a_wait(api: Api, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of the restored state are never returned as the events after a position of the old state."""
    world.give("c1", 100)

    def read(*_arguments: object) -> list[object]:
        world.generation += 1
        world.give("c2", 100)
        return []

    monkeypatch.setattr(Feed, "read", read)
    assert is_unknown(api.get("/v1/events?after=3&wait=1"), 1)


@pytest.mark.parametrize("path", ["/v1/transactions", "/v1/customers/c1/events", "/v1/dead-letters", "/v1/reviews"])
def test_cursors_of_other_lists(api: Api, world: World, path: str) -> None:
    """A list cannot be continued in another generation than the one in which it began."""
    for number in range(3):
        world.give("c1", 100)
        world.bury(f"019ab000-0000-7000-8000-00000000000{number}")
        world.complain(f"r{number}", None, stream=StreamKey("main", "c1"), after_s=number)
    cursor = api.get(f"{path}?limit=1").json["next_cursor"]
    assert api.get(f"{path}?limit=1&cursor={cursor}").status_code == 200
    world.generation = 3
    assert is_unknown(api.get(f"{path}?limit=1&cursor={cursor}"), 3)
    cursor = api.get(f"{path}?limit=1").json["next_cursor"]
    assert api.get(f"{path}?limit=1&cursor={cursor}").status_code == 200


def test_cursors_of_two_generations_differ() -> None:
    """The same key in two generations has two cursors. A cursor with an invalid generation is refused."""
    for forged in ("dDB-eA", "dDAxfng"):  # t0~x, t01~x
        assert decode_cursor(CursorKind.GATEWAYS, forged) is None
