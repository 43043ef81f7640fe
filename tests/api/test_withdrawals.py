"""POST /v1/withdrawal: reserved or refused with the available amount; unchecked where balances are elsewhere."""

from __future__ import annotations

from domain.events import Kind
from tests.api.support import Api
from tests.api.world import World


def test_a_withdrawal_reserves_its_amount(api: Api, world: World) -> None:
    """The amount is reserved and no longer available."""
    world.give("12345", 15_000)
    taken = api.withdraw()
    assert taken.status_code == 202
    assert (taken.json["type"], taken.json["status"], taken.json["amount"]) == ("withdrawal", "pending", "100.00")
    assert taken.headers["Location"] == f"/v1/transactions/{taken.json['transaction_id']}"
    balances = api.get("/v1/customers/12345").json["balances"]
    assert balances == [{"currency": "USD", "available": "50.00", "reserved": "100.00"}]
    assert api.get("/v1/transactions?type=withdrawal").json["items"] == [taken.json]


def test_a_low_balance_is_refused_with_the_available_amount(api: Api, world: World) -> None:
    """The answer is 422 with the available amount in the requested currency, in text and as a field.

    Nothing is stored.
    """
    world.give("12345", 9_999)
    short = api.withdraw()
    assert (short.status_code, short.json["type"]) == (422, "/problems/insufficient-funds")
    assert (short.json["available"], short.json["currency"]) == ("99.99", "USD")
    other = api.withdraw(currency="EUR")
    assert (other.json["available"], other.json["currency"]) == ("0.00", "EUR")
    unknown = api.withdraw(customer_id="unknown")
    assert unknown.json["available"] == "0.00"
    assert api.get("/v1/customers/unknown").status_code == 404
    assert api.get("/v1/transactions?type=withdrawal").json["items"] == []


def test_bad_commands_are_named_as_for_deposits(api: Api, world: World) -> None:
    """The rules are those of deposits, and every wrong field is named."""
    bad = api.withdraw(amount=0, currency="XXX", customer_id="", gateway="unknown", more=1)
    assert bad.status_code == 400
    assert bad.json["errors"].keys() >= {"currency", "customer_id", "gateway", "more"}
    assert world.calls == []


def test_unchecked_withdrawals_need_no_balance(world: World) -> None:
    """The command states that no balance is checked, and the actors do not refuse it for a low balance."""
    api = Api(world, checked_withdrawals=False)
    assert api.withdraw().status_code == 202
    (_, command, _) = world.calls[-1]
    assert (command.kind, command.checked) == (Kind.WITHDRAWAL, False)
    assert api.get("/v1/customers/12345").json["balances"] in (
        [],
        [{"currency": "USD", "available": "0.00", "reserved": "0.00"}],
    )
