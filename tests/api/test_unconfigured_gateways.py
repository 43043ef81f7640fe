"""Dead letters of a gateway that is no longer configured are shown, and no command changes them."""

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
    """A dead letter of an unconfigured gateway."""
    transaction_id: str = api.deposit().json["transaction_id"]
    world.bury(transaction_id, state=WorkState.PARKED)
    [letter] = world.letters
    world.letters = [letter._replace(item=replace(letter.item, gateway=GONE))]
    return transaction_id


def test_the_dead_letter_is_shown(api: Api, letter_id: str) -> None:
    """The dead letter is shown on its own and in the list, with its gateway's name."""
    letter = api.get(f"/v1/dead-letters/{letter_id}").json
    assert letter["gateway"] == GONE
    assert api.get("/v1/dead-letters").json["items"] == [letter]


@pytest.mark.parametrize("body", [..., {}])
def test_the_dead_letter_is_not_retried(api: Api, world: World, letter_id: str, body: object) -> None:
    """A retry gets 409 with the gateway's name.

    The work could not be done, and the dead letter would disappear from all lists.
    """
    result = api.order(f"/v1/dead-letters/{letter_id}/retry", body)
    assert (result.status_code, result.json["type"]) == (409, "/problems/gateway-not-configured")
    assert GONE in result.json["detail"]
    assert world.retried == []
    assert api.get(f"/v1/dead-letters/{letter_id}").status_code == 200


def test_an_invalid_command_is_refused_first(api: Api, letter_id: str) -> None:
    """Unknown fields get 400 for every gateway."""
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", {"reason": "x"}).status_code == 400


def test_a_retry_by_its_gateway_is_refused(api: Api, world: World, letter_id: str) -> None:
    """A filter by a gateway that is not configured gets 400."""
    result = api.order("/v1/dead-letters/retry", {"gateway": GONE})
    assert (result.status_code, list(result.json["errors"])) == (400, ["gateway"])
    assert [letter.item.work_id for letter in world.letters] == [letter_id]


def test_the_actors_decide_on_a_discard(api: Api, world: World, letter_id: str) -> None:
    """A discard is passed on: the actors decide whether it is permitted."""
    world.reply = Refused("not-discardable", "Its gateway is not configured.")
    result = api.order(f"/v1/dead-letters/{letter_id}/discard", {"reason": "gone"})
    assert (result.status_code, result.json["type"]) == (409, "/problems/not-discardable")
    assert [item.gateway for _, item, _ in world.discards] == [GONE]


def test_an_unreachable_store_is_reported_first(api: Api, world: World, letter_id: str) -> None:
    """When the dead letter cannot be read, it is not reported as unconfigured.

    Errors of known gateways have their usual answers.
    """
    world.down = True
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", ...).status_code == 503
    world.down, world.trouble = False, StoreUnavailableError("away")
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", ...).status_code == 409
    world.letters = [letter._replace(item=replace(letter.item, gateway="gatewayA")) for letter in world.letters]
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", ...).status_code == 503
