"""POST /v1/withdrawal: reserved at once, refused with what is available; unchecked where balances are elsewhere."""

from __future__ import annotations

from domain.events import Kind
from tests.api.support import Api
from tests.api.world import World


def test_a_withdrawal_reserves(api: Api, world: World) -> None:
    """The amount is no longer available, and still reserved."""
    world.give("12345", 15_000)
    taken = api.withdraw()
    assert taken.status_code == 202
    assert (taken.json["type"], taken.json["status"], taken.json["amount"]) == ("withdrawal", "pending", "100.00")
    assert taken.headers["Location"] == f"/v1/transactions/{taken.json['transaction_id']}"
    balances = api.get("/v1/customers/12345").json["balances"]
    assert balances == [{"currency": "USD", "available": "50.00", "reserved": "100.00"}]
    assert api.get("/v1/transactions?type=withdrawal").json["items"] == [taken.json]


def test_what_is_short_is_refused_with_what_there_is(api: Api, world: World) -> None:
    """422 with the available amount, for people and programs, in the requested currency; nothing is stored."""
    world.give("12345", 9_999)
    short = api.withdraw()
    assert (short.status_code, short.json["type"]) == (422, "/problems/insufficient-funds")
    assert (short.json["available"], short.json["currency"]) == ("99.99", "USD")
    other = api.withdraw(currency="EUR")
    assert (other.json["available"], other.json["currency"]) == ("0.00", "EUR")
    nobody = api.withdraw(customer_id="nobody")
    assert nobody.json["available"] == "0.00"
    assert api.get("/v1/customers/nobody").status_code == 404
    assert api.get("/v1/transactions?type=withdrawal").json["items"] == []


def test_bad_commands_are_named_as_for_deposits(api: Api, world: World) -> None:
    """The same rules, every wrong field named."""
    bad = api.withdraw(amount=0, currency="XXX", customer_id="", gateway="nobody", more=1)
    assert bad.status_code == 400
    assert bad.json["errors"].keys() >= {"currency", "customer_id", "gateway", "more"}
    assert world.calls == []


def test_unchecked_withdrawals_ask_for_no_balance(world: World) -> None:
    """The command states that no balance is checked, and the actors do not refuse it for a low balance."""
    api = Api(world, checked_withdrawals=False)
    assert api.withdraw().status_code == 202
    (_, command, _) = world.calls[-1]
    assert (command.kind, command.checked) == (Kind.WITHDRAWAL, False)
    assert api.get("/v1/customers/12345").json["balances"] in (
        [],
        [{"currency": "USD", "available": "0.00", "reserved": "0.00"}],
    )
