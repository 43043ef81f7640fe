"""Corrections by operators: the final status of a transaction, and the balance of a customer."""

from __future__ import annotations

from typing import Any

import pytest

from actors.replies import NotStored, Uncertain
from domain.account import Refused
from domain.commands import Adjust, Resolution, Resolve
from domain.money import Money
from domain.outcomes import Unknown
from store.port import StreamKey
from tests.api.support import Api
from tests.api.world import World

WHY = {"reason": "Seen on the statement.", "evidence": "line 7"}


@pytest.fixture
def path(api: Api, world: World) -> str:
    """The resolution of a deposit with an unknown outcome, at version 2."""
    transaction_id = api.deposit().json["transaction_id"]
    world.settle("12345", transaction_id, Unknown("timeout"))
    return f"/v1/transactions/{transaction_id}/resolution"


@pytest.mark.parametrize(("outcome", "available"), [("completed", "100.00"), ("failed", None)])
def test_a_resolution_ends_the_transaction(
    api: Api, world: World, path: str, outcome: str, available: str | None
) -> None:
    """The answer is 200 with the final transaction. Reason and evidence are stored with the events."""
    settled = api.order(path, {"outcome": outcome, "version": 2, **WHY})
    assert (settled.status_code, settled.json["status"]) == (200, outcome)
    balances = api.get("/v1/customers/12345").json["balances"]
    assert [balance["available"] for balance in balances] == ([] if available is None else [available])
    ((stream, command, work, metadata),) = world.orders
    assert isinstance(command, Resolve)
    assert (stream, command.version, command.reason, work) == (StreamKey("main", "12345"), 2, WHY["reason"], None)
    assert (metadata.reason, metadata.evidence) == (WHY["reason"], WHY["evidence"])
    events = api.get("/v1/customers/12345/events").json["items"]
    assert (events[-1]["metadata"]["reason"], events[-1]["metadata"]["evidence"]) == (WHY["reason"], WHY["evidence"])


def test_an_authorization_is_confirmed_by_an_operator(api: Api, world: World) -> None:
    """A deposit with manual capture becomes authorized in place of completed."""
    transaction_id = api.deposit(capture="manual").json["transaction_id"]
    path = f"/v1/transactions/{transaction_id}/resolution"
    refused = api.order(path, {"outcome": "completed", "version": 1, **WHY})
    assert (refused.status_code, refused.json["type"]) == (409, "/problems/not-possible-now")
    settled = api.order(path, {"outcome": "authorized", "version": 1, **WHY})
    assert (settled.status_code, settled.json["status"]) == (200, "authorized")
    assert settled.json["authorization_expires_at"] == "2026-11-29T12:00:00.000000Z"
    assert [command.outcome for _, command, _, _ in world.orders if isinstance(command, Resolve)] == [
        Resolution.COMPLETED,
        Resolution.AUTHORIZED,
    ]


def test_other_transactions_cannot_become_authorized(api: Api, path: str) -> None:
    """The outcome of a deposit with automatic capture is completed or failed."""
    refused = api.order(path, {"outcome": "authorized", "version": 2, **WHY})
    assert (refused.status_code, refused.json["type"]) == (409, "/problems/not-possible-now")


def test_the_dead_letter_is_passed_with_the_command(api: Api, world: World) -> None:
    """The dead letter's work is passed with the command, so that no other process does it in the meantime."""
    transaction_id = api.deposit().json["transaction_id"]
    world.bury(transaction_id)
    api.order(f"/v1/transactions/{transaction_id}/resolution", {"outcome": "failed", "version": 1, **WHY})
    assert world.orders[0][2] == world.letters[0].item


def test_a_stale_version_and_a_final_transaction_are_conflicts(api: Api, path: str) -> None:
    """A stale version and a final transaction get 409, and a final transaction does not change."""
    stale = api.order(path, {"outcome": "failed", "version": 1, **WHY})
    assert (stale.status_code, stale.json["type"]) == (409, "/problems/stale-version")
    assert api.order(path, {"outcome": "completed", "version": 2, **WHY}).status_code == 200
    final = api.order(path, {"outcome": "failed", "version": 4, **WHY})
    assert (final.status_code, final.json["type"]) == (409, "/problems/already-final")


@pytest.mark.parametrize("code", ["still-under-way", "dead-letter-busy"])
def test_other_conflicts(api: Api, world: World, path: str, code: str) -> None:
    """Each refusal of the actors has its own code."""
    world.reply = Refused(code, "No.")
    refused = api.order(path, {"outcome": "failed", "version": 2, **WHY})
    assert (refused.status_code, refused.json["type"]) == (409, f"/problems/{code}")


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"outcome": "unknown"}, "outcome"),
        ({"outcome": ...}, "outcome"),
        ({"reason": ""}, "reason"),
        ({"evidence": ...}, "evidence"),
        ({"evidence": "x" * 501}, "evidence"),
        ({"version": 0}, "version"),
        ({"version": "2"}, "version"),
        ({"version": 2.5}, "version"),
        ({"version": 2**53 + 1}, "version"),
        ({"more": 1}, "more"),
    ],
)
def test_every_wrong_field_is_named(api: Api, world: World, path: str, changes: dict[str, Any], wrong: str) -> None:
    """Every wrong field is named in a 400, and nothing reaches the actors."""
    body = {"outcome": "completed", "version": 2, **WHY, **changes}
    refused = api.order(path, {name: value for name, value in body.items() if value is not ...})
    assert (refused.status_code, [*refused.json["errors"]]) == (400, [wrong])
    assert world.orders == []


@pytest.mark.parametrize("transaction_id", ["unknown", "019ab000-0000-7000-8000-00000000ffff", "%00"])
def test_an_unknown_transaction(api: Api, transaction_id: str) -> None:
    """404."""
    path = f"/v1/transactions/{transaction_id}/resolution"
    assert api.order(path, {"outcome": "failed", "version": 2, **WHY}).status_code == 404


def test_a_resolution_with_an_uncertain_result(api: Api, world: World, path: str) -> None:
    """A command that is not stored gets 503. When that is not known, the answer is 504 with the id."""
    world.reply = NotStored("away")
    assert api.order(path, {"outcome": "failed", "version": 2, **WHY}).status_code == 503
    world.reply = RuntimeError("secret")
    unknown = api.order(path, {"outcome": "failed", "version": 2, **WHY})
    assert (unknown.status_code, unknown.json["transaction_id"]) == (504, path.split("/")[3])


def test_a_correction_is_answered_without_the_store(api: Api, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the commit the answer needs no further read of the store."""
    world.give("12345", 10_000)
    execute = world.execute

    def then_down(*arguments: Any) -> Any:
        reply = execute(*arguments)
        world.down = True
        return reply

    monkeypatch.setattr(world, "execute", then_down)
    corrected = api.order(ADJUSTMENTS, {"amount": "-10", "currency": "USD", **WHY})
    assert (corrected.status_code, corrected.json["balances"][0]["available"]) == (201, "90.00")


# adjustments

ADJUSTMENTS = "/v1/customers/12345/adjustments"


@pytest.mark.parametrize(
    ("amount", "minor"),
    [("-10.50", -1050), ("10.5", 1050), (-10.5, -1050), (3, 300), ("0.01", 1), ("-100", -10_000), (-1e1, -1000)],
)
def test_an_adjustment_changes_the_balance(api: Api, world: World, amount: object, minor: int) -> None:
    """The answer is 201 with the customer's new balance. Signs and spellings count by their value."""
    world.give("12345", 10_000)
    corrected = api.order(ADJUSTMENTS, {"amount": amount, "currency": "USD", **WHY})
    assert corrected.status_code == 201
    assert corrected.headers["Location"] == "/v1/customers/12345"
    assert corrected.json["balances"] == [
        {"currency": "USD", "available": f"{(10_000 + minor) / 100:.2f}", "reserved": "0.00"}
    ]
    command = world.orders[0][1]
    assert isinstance(command, Adjust)
    assert (command.money, command.reason, command.evidence) == (Money(minor, "USD"), *WHY.values())


def test_the_balance_never_goes_below_zero(api: Api, world: World) -> None:
    """An adjustment below zero gets 422 with the available balance."""
    world.give("12345", 100)
    short = api.order(ADJUSTMENTS, {"amount": "-1.01", "currency": "USD", **WHY})
    assert (short.status_code, short.json["type"], short.json["available"]) == (
        422,
        "/problems/insufficient-funds",
        "1.00",
    )


def test_an_unknown_customer_is_not_adjusted(api: Api, world: World) -> None:
    """A customer without events cannot be adjusted: its id must be a mistake."""
    for name in ("unknown", "%00"):
        path = f"/v1/customers/{name}/adjustments"
        assert api.order(path, {"amount": 1, "currency": "USD", **WHY}).status_code == 404
    assert world.orders == []


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": "0.00"}, "amount"),
        ({"amount": "-0"}, "amount"),
        ({"amount": "--1"}, "amount"),
        ({"amount": "+1"}, "amount"),
        ({"amount": "1.001"}, "amount"),
        ({"amount": "-10000000000.01"}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": None}, "amount"),
        ({"currency": "XXX"}, "currency"),
        ({"currency": ...}, "currency"),
        ({"reason": " "}, "reason"),
        ({"evidence": 5}, "evidence"),
        ({"more": 1}, "more"),
    ],
)
def test_every_wrong_field_of_an_adjustment_is_named(
    api: Api, world: World, changes: dict[str, Any], wrong: str
) -> None:
    """Every wrong field is named in a 400, and nothing reaches the actors."""
    world.give("12345", 100)
    body = {"amount": 1, "currency": "USD", **WHY, **changes}
    refused = api.order(ADJUSTMENTS, {name: value for name, value in body.items() if value is not ...})
    assert (refused.status_code, [*refused.json["errors"]]) == (400, [wrong])
    assert world.orders == []


def test_an_adjustment_under_a_key_happens_once(api: Api, world: World) -> None:
    """The same adjustment again is replayed. Another one with the same key is refused."""
    world.give("12345", 100)
    order = {"amount": 1, "currency": "USD", **WHY}
    answers = [api.order(ADJUSTMENTS, order, key="k"), api.order(ADJUSTMENTS, {**order, "amount": "1.0"}, key="k")]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]
    assert answers[1].json["balances"][0]["available"] == "2.00"
    other = api.order(ADJUSTMENTS, {**order, "amount": 2}, key="k")
    assert (other.status_code, other.json["type"]) == (422, "/problems/idempotency-key-reused")


def test_an_adjustment_with_an_uncertain_result(api: Api, world: World) -> None:
    """The answers 503 and 504 name no transaction."""
    world.give("12345", 100)
    world.reply = NotStored("away")
    assert api.order(ADJUSTMENTS, {"amount": 1, "currency": "USD", **WHY}).status_code == 503
    world.reply = Uncertain(None)
    unknown = api.order(ADJUSTMENTS, {"amount": 1, "currency": "USD", **WHY})
    assert (unknown.status_code, "transaction_id" in unknown.json) == (504, False)
