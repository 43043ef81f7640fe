"""Dead letters: reading, retrying and discarding them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.replies import NotStored, Reply, Uncertain
from domain.account import Refused
from domain.commands import Discard
from domain.outcomes import Unknown
from store.codec import Metadata
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import DeadLetterFilter, WorkState
from tests.api.support import Api
from tests.api.world import World

ABSENT = "019ab000-0000-7000-8000-00000000ffff"
ODD = ["%00", "a%20b", "%C3%A9", "x" * 201, "a%2Fb", "%FF", "'", ABSENT.upper()]


def dead_letter_of(api: Api, world: World, state: WorkState = WorkState.DEAD, **changes: object) -> str:
    """The id of a new deposit whose work is a dead letter."""
    transaction_id: str = api.deposit(**changes).json["transaction_id"]
    world.bury(transaction_id, state=state)
    return transaction_id


def test_a_dead_letter(api: Api, world: World) -> None:
    """A dead letter shows its transaction, the error of every attempt, and the time of the next attempt."""
    letter_id = dead_letter_of(api, world)
    assert api.get(f"/v1/dead-letters/{letter_id}").json == {
        "id": letter_id,
        "transaction_id": letter_id,
        "gateway": "gatewayA",
        "action": "submit",
        "event_type": "DepositReceived",
        "state": "waiting",
        "attempts": 2,
        "next_attempt_at": "2026-11-22T12:01:00.123456Z",
        "errors": [
            {"at": "2026-11-22T12:00:01.123456Z", "error": "refused 1"},
            {"at": "2026-11-22T12:00:02.123456Z", "error": "refused 2"},
        ],
        "created_at": "2026-11-22T12:00:00.123456Z",
    }


def test_a_parked_dead_letter(api: Api, world: World) -> None:
    """A parked dead letter has no next attempt. One without a transaction shows null."""
    letter_id = dead_letter_of(api, world, WorkState.PARKED)
    world.letters[0] = world.letters[0]._replace(transaction_id=None)
    letter = api.get(f"/v1/dead-letters/{letter_id}").json
    assert (letter["state"], letter["next_attempt_at"], letter["transaction_id"]) == ("parked", None, None)


@pytest.mark.parametrize("limit", ["1", "2", "5"])
def test_pages_of_dead_letters(api: Api, world: World, limit: str) -> None:
    """Over all pages every dead letter appears once, newest first."""
    ids = [dead_letter_of(api, world) for _ in range(5)]
    found: list[str] = []
    params = {"limit": limit}
    for _ in ids:
        page = api.get("/v1/dead-letters", params=params).json
        found += [it["id"] for it in page["items"]]
        if page["next_cursor"] is None:
            break
        params = {"limit": limit, "cursor": page["next_cursor"]}
    assert found == ids[::-1]


def test_each_filter_of_dead_letters_filters(api: Api, world: World) -> None:
    """The filters for gateway and state work alone and together."""
    first = dead_letter_of(api, world)
    second = dead_letter_of(api, world, WorkState.PARKED)
    third = dead_letter_of(api, world, gateway="gatewayB")
    expected = {
        "": [third, second, first],
        "gateway=gatewayA": [second, first],
        "state=waiting": [third, first],
        "state=parked": [second],
        "gateway=gatewayA&state=waiting": [first],
        "gateway=gatewayB&state=parked": [],
    }
    found = {
        query: [it["id"] for it in api.get("/v1/dead-letters", query_string=query).json["items"]] for query in expected
    }
    assert found == expected


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("state=", "state"),
        ("state=dead", "state"),
        ("state=Parked", "state"),
        ("state=parked&state=waiting", "state"),
        ("gateway=", "gateway"),
        ("gateway=gatewayC", "gateway"),
        ("gateway=%00", "gateway"),
        ("customer_id=1", "customer_id"),
    ],
)
def test_a_wrong_filter_of_dead_letters_is_named(api: Api, query: str, name: str) -> None:
    """An invalid filter gets 400, not an empty list."""
    result = api.get("/v1/dead-letters", query_string=query)
    assert (result.status_code, list(result.json["errors"])) == (400, [name])


@pytest.mark.parametrize("letter_id", [*ODD, ABSENT])
def test_no_such_dead_letter(api: Api, world: World, letter_id: str) -> None:
    """An unknown id gets 404 on every route, also with a wrong body."""
    dead_letter_of(api, world)
    path = f"/v1/dead-letters/{letter_id}"
    results = [api.get(path), api.order(f"{path}/retry", ...), api.order(f"{path}/discard", {"reason": "x"})]
    assert [(it.status_code, it.json["type"]) for it in results] == [(404, "/problems/not-found")] * 3
    assert (world.retried, world.discards) == ([], [])


def test_malformed_ids_never_reach_the_store(api: Api, world: World) -> None:
    """While the store is down, only well-formed ids get 503."""
    world.down = True
    assert api.get(f"/v1/dead-letters/{ABSENT}").status_code == 503
    found = {api.get(f"/v1/dead-letters/{name}").status_code for name in ODD if name != ABSENT.upper()}
    assert found == {404}


def test_a_dead_letter_of_another_merchant_gets_404(api: Api, world: World) -> None:
    """A dead letter of another merchant is indistinguishable from an unknown one."""
    world.bury(ABSENT, merchant="other")
    path = f"/v1/dead-letters/{ABSENT}"
    assert api.get("/v1/dead-letters").json["items"] == []
    assert [it.status_code for it in (api.get(path), api.order(f"{path}/retry", ...))] == [404, 404]
    assert api.order("/v1/dead-letters/retry", {}).json == {"count": 0}


@pytest.mark.parametrize("body", [..., {}])
def test_retrying_a_dead_letter(api: Api, world: World, body: object) -> None:
    """The command reaches the actors, with or without an empty body, and the answer shows the state before."""
    letter_id = dead_letter_of(api, world, WorkState.PARKED)
    before = api.get(f"/v1/dead-letters/{letter_id}").json
    result = api.order(f"/v1/dead-letters/{letter_id}/retry", body)
    assert (result.status_code, result.json) == (202, before)
    assert world.retried == [("main", DeadLetterFilter(work_id=letter_id))]
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", body).status_code == 404


def test_a_dead_letter_that_is_retried_meanwhile_gets_404(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead letter that is retried before the command gets 404, not 202."""
    letter_id = dead_letter_of(api, world)
    monkeypatch.setattr(world, "retry_dead_letters", lambda *_: 0)
    assert api.order(f"/v1/dead-letters/{letter_id}/retry", ...).status_code == 404


def test_a_retry_accepts_no_fields(api: Api, world: World) -> None:
    """A field in the body or the query is refused, and nothing is retried."""
    letter_id = dead_letter_of(api, world)
    path = f"/v1/dead-letters/{letter_id}/retry"
    assert list(api.order(path, {"reason": "x"}).json["errors"]) == ["reason"]
    assert list(api.request("POST", path, query_string="force=1").json["errors"]) == ["force"]
    assert api.order(path, []).status_code == 400
    assert world.retried == []


@pytest.mark.parametrize(
    ("order", "where", "count"),
    [
        ({}, DeadLetterFilter(), 3),
        ({"gateway": "gatewayA"}, DeadLetterFilter(gateway="gatewayA"), 2),
        ({"state": "waiting"}, DeadLetterFilter(state=WorkState.DEAD), 2),
        ({"gateway": "gatewayA", "state": "parked"}, DeadLetterFilter("gatewayA", WorkState.PARKED), 1),
    ],
)
def test_retrying_many_dead_letters(
    api: Api, world: World, order: dict[str, str], where: DeadLetterFilter, count: int
) -> None:
    """The matching dead letters are retried, and the answer is their number."""
    dead_letter_of(api, world)
    dead_letter_of(api, world, WorkState.PARKED)
    dead_letter_of(api, world, gateway="gatewayB")
    result = api.order("/v1/dead-letters/retry", order)
    assert (result.status_code, result.json) == (202, {"count": count})
    assert world.retried == [("main", where)]


@pytest.mark.parametrize(
    ("order", "name"),
    [
        ({"gateway": "gatewayC"}, "gateway"),
        ({"gateway": None}, "gateway"),
        ({"gateway": ["gatewayA"]}, "gateway"),
        ({"state": "dead"}, "state"),
        ({"state": None}, "state"),
        ({"state": ["parked"]}, "state"),
        ({"gatway": "gatewayA"}, "gatway"),
        ({"id": ABSENT}, "id"),
    ],
)
def test_a_wrong_field_never_selects_all(api: Api, world: World, order: object, name: str) -> None:
    """A wrong or misspelt field gets 400 with its name, and nothing is retried."""
    result = api.order("/v1/dead-letters/retry", order)
    assert (result.status_code, list(result.json["errors"])) == (400, [name])
    assert world.retried == []


def test_a_missing_body_never_selects_all(api: Api, world: World) -> None:
    """A retry of all needs an explicit empty object."""
    assert (
        api.request("POST", "/v1/dead-letters/retry", headers={"Content-Type": "application/json"}).status_code == 400
    )
    assert api.order("/v1/dead-letters/retry", ...).status_code == 415
    assert world.retried == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreUnavailableError("gone"), 503), (TimeoutError(), 504), (CommitUncertainError("cut"), 504)],
)
def test_a_retry_that_fails(api: Api, world: World, error: Exception, status: int) -> None:
    """The answer is 503 when certainly nothing was changed, and 504 when that is not known.

    The dead letters are unchanged.
    """
    letter_id = dead_letter_of(api, world)
    world.trouble = error
    for path, order in ((f"/v1/dead-letters/{letter_id}/retry", ...), ("/v1/dead-letters/retry", {})):
        assert api.order(path, order).status_code == status


def test_discarding_a_dead_letter(api: Api, world: World) -> None:
    """The transaction fails with the operator's reason. The command has the request's id and the work item."""
    letter_id = dead_letter_of(api, world)
    result = api.order(f"/v1/dead-letters/{letter_id}/discard", {"reason": "paid in cash"})
    assert result.status_code == 200
    assert (result.json["transaction_id"], result.json["status"]) == (letter_id, "failed")
    assert result.json["failure"] == {"code": "discarded", "category": None, "message": "paid in cash"}
    request_id = result.headers["X-Request-ID"]
    [(command, item, metadata)] = world.discards
    assert (command, item) == (Discard(letter_id, "paid in cash"), world.letters[0].item)
    assert metadata == Metadata(correlation_id=request_id)


def test_discarding_work_that_may_have_been_sent_is_refused(api: Api, world: World) -> None:
    """Where discarding could falsify the record, the answer is 409 with the path of the resolution."""
    letter_id = dead_letter_of(api, world)
    world.settle("12345", letter_id, Unknown("timeout"))
    result = api.order(f"/v1/dead-letters/{letter_id}/discard", {"reason": "x"})
    assert (result.status_code, result.json["type"]) == (409, "/problems/not-discardable")
    assert result.json["resolution"] == f"/v1/transactions/{letter_id}/resolution"
    assert f"POST /v1/transactions/{letter_id}/resolution" in result.json["detail"]
    assert api.get(f"/v1/transactions/{letter_id}").json["status"] == "unknown"


def test_discarding_work_without_a_transaction_is_refused(api: Api, world: World) -> None:
    """A dead letter without a transaction cannot be discarded: there is no transaction that could fail."""
    letter_id = dead_letter_of(api, world)
    world.letters[0] = world.letters[0]._replace(transaction_id=None)
    result = api.order(f"/v1/dead-letters/{letter_id}/discard", {"reason": "x"})
    assert (result.status_code, result.json["type"]) == (409, "/problems/not-discardable")
    assert world.discards == []


@pytest.mark.parametrize(
    ("reply", "status", "name"),
    [
        (Refused("dead-letter-busy", "Retried in the meantime."), 409, "dead-letter-busy"),
        (Refused("refused-for-a-new-reason", "No."), 422, "refused-for-a-new-reason"),
        (NotStored("The mailbox is full.", 7), 503, "unavailable"),
        (Uncertain(ABSENT), 504, "outcome-unknown"),
        (RuntimeError("secret"), 504, "outcome-unknown"),
        (StoreUnavailableError("secret"), 504, "outcome-unknown"),
    ],
)
def test_every_other_answer_to_a_discard(
    api: Api, world: World, reply: Reply | Exception, status: int, name: str
) -> None:
    """The answers distinguish refused, not stored, and not known. An exception means not known."""
    letter_id = dead_letter_of(api, world)
    world.reply = reply
    result = api.order(f"/v1/dead-letters/{letter_id}/discard", {"reason": "x"})
    assert (result.status_code, result.json["type"]) == (status, f"/problems/{name}")
    assert "secret" not in result.text
    if status == 504:
        assert result.json["transaction_id"] in (letter_id, ABSENT)


@pytest.mark.parametrize(
    ("order", "name"),
    [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "a\u0000"}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"reason": "x", "who": "me"}, "who"),
    ],
)
def test_a_discard_needs_a_reason(api: Api, world: World, order: object, name: str) -> None:
    """Without a valid reason nothing is discarded, and the answer names the field."""
    letter_id = dead_letter_of(api, world)
    result = api.order(f"/v1/dead-letters/{letter_id}/discard", order)
    assert (result.status_code, list(result.json["errors"])) == (400, [name])
    assert world.discards == []


def test_a_stored_callback_shows_its_gateway(api: Api, world: World) -> None:
    """The answer shows the gateway, regardless of the name of its queue in the store, and a retry is possible."""
    world.bury("callback-1")
    (letter,) = world.letters
    world.letters = [letter._replace(item=replace(letter.item, gateway="callbacks:gatewayA"))]
    assert api.get("/v1/dead-letters/callback-1").json["gateway"] == "gatewayA"
    assert api.order("/v1/dead-letters/callback-1/retry", ...).status_code == 202
