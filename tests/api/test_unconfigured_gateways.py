"""Dead letters of a gateway that is not configured any more: they are shown, and no command changes them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.account import Refused
from store.errors import StoreUnavailableError
from store.port import WorkState
from tests.api.support import Api
from tests.api.world import World

GONE = "gatewayGone"


@pytest.fixture
def letter_id(api: Api, world: World) -> str:
    """A dead letter of such a gateway."""
    transaction_id: str = api.deposit().json["transaction_id"]
    world.bury(transaction_id, state=WorkState.PARKED)
    [letter] = world.letters
    world.letters = [letter._replace(item=replace(letter.item, gateway=GONE))]
    return transaction_id


def test_it_is_shown(api: Api, letter_id: str) -> None:
    """Alone and in the list, with the name that it had."""
    letter = api.get(f"/v1/dead-letters/{letter_id}").json
    assert letter["gateway"] == GONE
    assert api.get("/v1/dead-letters").json["items"] == [letter]


@pytest.mark.parametrize("body", [..., {}])
def test_it_is_not_tried_again(api: Api, world: World, letter_id: str, body: object) -> None:
    """409 with the gateway's name: the work could not be done, and the dead letter would disappear from all lists."""
    result = api.order(f"/v1/dead-letters/{letter_id}/retry", body)
    assert (result.status_code, result.json["type"]) == (409, "/problems/gateway-not-configured")
    assert GONE in result.json["detail"]
    assert world.retried == []
    assert api.get(f"/v1/dead-letters/{letter_id}").status_code == 200


def test_a_mistaken_order_is_told_so_first(api: Api, letter_id: str) -> None:
    """Unknown fields get 400 for every gateway."""
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", {"reason": "x"}).status_code == 400


def test_many_of_it_cannot_be_ordered(api: Api, world: World, letter_id: str) -> None:
    """A filter by a gateway that is not configured gets 400."""
    result = api.order("/v1/dead-letters/retry", {"gateway": GONE})
    assert (result.status_code, list(result.json["errors"])) == (400, ["gateway"])
    assert [letter.item.work_id for letter in world.letters] == [letter_id]


def test_a_discard_is_the_actors_business(api: Api, world: World, letter_id: str) -> None:
    """The actors decide whether it may be discarded."""
    world.reply = Refused("not-discardable", "Its gateway is not configured.")
    result = api.order(f"/v1/dead-letters/{letter_id}/discard", {"reason": "gone"})
    assert (result.status_code, result.json["type"]) == (409, "/problems/not-discardable")
    assert [item.gateway for _, item, _ in world.discards] == [GONE]


def test_a_store_that_is_away_comes_first(api: Api, world: World, letter_id: str) -> None:
    """An unreadable dead letter is not called unconfigured; errors of known gateways keep their own answers."""
    world.down = True
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", ...).status_code == 503
    world.down, world.trouble = False, StoreUnavailableError("away")
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", ...).status_code == 409
    world.letters = [letter._replace(item=replace(letter.item, gateway="gatewayA")) for letter in world.letters]
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", ...).status_code == 503
