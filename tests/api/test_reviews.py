"""/v1/reviews: lists, single reviews, and closing them."""

from __future__ import annotations

import pytest

from actors.replies import NotStored, Uncertain
from domain.commands import CloseReview
from store.port import StreamKey
from tests.api.support import Api
from tests.api.world import World

MINE, GATEWAYS, FOREIGN = StreamKey("main", "12345"), StreamKey("gateways", "gatewayA"), StreamKey("other", "1")
TRANSACTION = "019ab000-0000-7000-8000-000000000001"


@pytest.fixture(autouse=True)
def _reviews(world: World) -> None:
    """Two reviews of a customer, one of a gateway, and one of another merchant."""
    world.complain("r-1", TRANSACTION, stream=MINE)
    world.complain("gatewayA.1", None, stream=GATEWAYS, after_s=1)
    world.complain("r-2", TRANSACTION, stream=MINE, after_s=2)
    world.complain("foreign", TRANSACTION, stream=FOREIGN, after_s=3)


def test_reviews_are_listed_newest_first(api: Api) -> None:
    """A gateway's review has no customer. Another merchant's review is not listed."""
    items = api.get("/v1/reviews").json["items"]
    assert [item["id"] for item in items] == ["r-2", "gatewayA.1", "r-1"]
    assert items[1] == {
        "id": "gatewayA.1",
        "transaction_id": None,
        "customer_id": None,
        "gateway": "gatewayA",
        "reason": "Something is wrong.",
        "state": "open",
        "opened_at": "2026-11-22T12:00:01.123456Z",
        "closed_at": None,
        "said": None,
        "expected": None,
    }
    assert items[0]["customer_id"] == "12345"


def test_pages_of_reviews(api: Api) -> None:
    """A cursor leads to the next page, and a state filters."""
    seen, cursor = [], None
    while True:
        page = api.get("/v1/reviews", params={"limit": "1", **({"cursor": cursor} if cursor else {})}).json
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["r-2", "gatewayA.1", "r-1"]
    assert api.get("/v1/reviews?state=closed").json["items"] == []
    assert len(api.get("/v1/reviews?state=open").json["items"]) == 3
    for query in ("state=odd", "cursor=abc", "limit=0", "more=1"):
        assert api.get(f"/v1/reviews?{query}").status_code == 400


def test_closing_a_review(api: Api, world: World) -> None:
    """The reason reaches the actors. Closing again changes nothing, and the actors confirm it."""
    closed = api.order("/v1/reviews/r-1/close", {"reason": "Looked."})
    assert (closed.status_code, closed.json["state"]) == (200, "closed")
    assert closed.json["closed_at"] is not None
    assert [(stream, command) for stream, command, _, _ in world.orders] == [(MINE, CloseReview("r-1", "Looked."))]
    assert api.order("/v1/reviews/r-1/close", {"reason": "Looked again."}).json == closed.json
    assert len(world.orders) == 2


@pytest.mark.parametrize("review_id", ["unknown", "foreign", "%00", "x" * 201])
def test_no_such_review(api: Api, review_id: str) -> None:
    """Another merchant's review gets the same answer as an unknown one."""
    assert api.order(f"/v1/reviews/{review_id}/close", {"reason": "Looked."}).status_code == 404
    assert api.get(f"/v1/reviews/{review_id}").status_code == 404


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": 1}, {"reason": "a", "more": 1}, {"reason": "a\x00"}])
def test_a_reason_is_needed(api: Api, world: World, body: object) -> None:
    """A missing or wrong reason gets 400 with the name of the field."""
    assert api.order("/v1/reviews/r-1/close", body).status_code == 400
    assert world.orders == []


def test_the_replies_of_the_actors(api: Api, world: World) -> None:
    """A command that is not stored gets 503. When that is not known, the answer is 504."""
    world.reply = NotStored("away")
    assert api.order("/v1/reviews/r-1/close", {"reason": "Looked."}).status_code == 503
    world.reply = Uncertain(None)
    unknown = api.order("/v1/reviews/r-1/close", {"reason": "Looked."})
    assert (unknown.status_code, unknown.json["type"]) == (504, "/problems/outcome-unknown")
    world.reply = RuntimeError("secret")
    assert api.order("/v1/reviews/r-1/close", {"reason": "Looked."}).status_code == 504
