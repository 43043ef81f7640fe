"""The read routes: shapes, pages, filters, and unknown resources."""

from __future__ import annotations

import pytest

from domain.account import Failure, Status
from domain.events import Kind
from domain.outcomes import Approved, Category, Declined, Unknown
from tests.api.support import Api
from tests.api.world import World

NOT_IDS = ["x", "0", "019AB000-0000-7000-8000-000000000001", "019ab000000070008000000000000001", "%00", "a b", "é"]
ABSENT = "019ab000-0000-7000-8000-00000000ffff"


def deposits(api: Api, number: int, **changes: object) -> list[str]:
    """Ids of ``number`` new deposits, oldest first."""
    return [api.deposit(**changes).json["transaction_id"] for _ in range(number)]


def all_items(api: Api, path: str, limit: int, **params: str) -> list[dict[str, object]]:
    """All items of a list, page by page."""
    items: list[dict[str, object]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get(path, params={"limit": str(limit), **params, **({"cursor": cursor} if cursor else {})}).json
        assert set(page) == {"items", "next_cursor"}
        assert len(page["items"]) <= limit
        assert page["items"] or not items, "a page that follows is never empty"
        items += page["items"]
        cursor = page["next_cursor"]
    return items


@pytest.mark.parametrize("customer", [".", ".."])
def test_a_customer_whose_id_cannot_be_in_a_path(api: Api, world: World, customer: str) -> None:
    """New commands with such an id are refused. Existing customers are read by the raw path, and listed by a query."""
    refused = api.deposit(customer_id=customer)
    assert (refused.status_code, [*refused.json["errors"]]) == (400, ["customer_id"])
    assert "path" in refused.json["errors"]["customer_id"][0]
    assert api.withdraw(customer_id=customer).status_code == 400
    assert world.calls == []
    world.give(customer, 100)
    for path in (customer, customer.replace(".", "%2E"), customer.replace(".", "%2e")):
        assert api.get(f"/v1/customers/{path}").json["customer_id"] == customer
        assert api.get(f"/v1/customers/{path}/events").json["items"]
    assert len(api.get("/v1/transactions", params={"customer_id": customer}).json["items"]) == 1


@pytest.mark.parametrize(
    "customer", ["...", "....", "a.", ".a", "..a", "-", "_", ":", "@", "::", "@@", "a:b@c", "events", "http:", "0"]
)
def test_every_other_customer_has_an_address(api: Api, world: World, customer: str) -> None:
    """Every id that is accepted has an address, unchanged and percent-encoded."""
    assert api.deposit(customer_id=customer).status_code == 202
    encoded = "".join(f"%{ord(letter):02X}" for letter in customer)
    for path in (customer, encoded, encoded.lower()):
        assert api.get(f"/v1/customers/{path}").json["customer_id"] == customer
        assert len(api.get(f"/v1/customers/{path}/events").json["items"]) == 1


def test_location_leads_to_the_accepted_transaction(api: Api) -> None:
    """The resource behind Location is the transaction that was accepted."""
    accepted = api.deposit(details={"order": "7"})
    result = api.get(accepted.headers["Location"])

    assert (result.status_code, result.json) == (200, accepted.json)


def test_a_completed_transaction(api: Api, world: World) -> None:
    """A transaction shows the gateway's answer: reference, status, the newest version and its time."""
    (transaction_id,) = deposits(api, 1)
    world.settle("12345", transaction_id, Approved("A-1", final=True))
    transaction = api.get(f"/v1/transactions/{transaction_id}").json

    assert (transaction["status"], transaction["gateway_reference"], transaction["version"]) == ("completed", "A-1", 3)
    assert transaction["created_at"] == "2026-11-22T12:00:00.123456Z"
    assert transaction["updated_at"] == "2026-11-22T12:00:02.123456Z"


@pytest.mark.parametrize("category", [*Category, None])
def test_a_failed_transaction(api: Api, world: World, category: Category | None) -> None:
    """A failure shows code, category and message."""
    (transaction_id,) = deposits(api, 1)
    world.settle("12345", transaction_id, Declined("do_not_honor", category, "No."))

    failure = {"code": "do_not_honor", "category": category and category.value, "message": "No."}
    assert api.get(f"/v1/transactions/{transaction_id}").json["failure"] == failure


@pytest.mark.parametrize("attention", ["dead_letter", "parked", "review"])
def test_attention(api: Api, world: World, attention: str) -> None:
    """A transaction shows its ``attention``."""
    (transaction_id,) = deposits(api, 1)
    world.attention[transaction_id] = attention
    assert api.get(f"/v1/transactions/{transaction_id}").json["attention"] == attention


@pytest.mark.parametrize("name", [*NOT_IDS, ABSENT])
def test_no_such_transaction(api: Api, name: str) -> None:
    """An unknown id gets 404, well-formed or not. Only well-formed ones are looked up in the store."""
    result = api.get(f"/v1/transactions/{name}")
    assert (result.status_code, result.json["type"]) == (404, "/problems/not-found")


def test_malformed_ids_never_reach_the_store(api: Api, world: World) -> None:
    """While the store is down, only well-formed ids get 503."""
    world.down = True
    assert api.get(f"/v1/transactions/{ABSENT}").status_code == 503
    assert [api.get(f"/v1/transactions/{name}").status_code for name in NOT_IDS] == [404] * len(NOT_IDS)
    assert api.get("/v1/customers/1").status_code == 503
    assert api.get("/v1/customers/%20").status_code == 404


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 200])
def test_pages_of_transactions(api: Api, limit: int) -> None:
    """Each transaction is on one page, newest first, for every page size."""
    ids = deposits(api, 7)
    assert [it["transaction_id"] for it in all_items(api, "/v1/transactions", limit)] == ids[::-1]


def test_new_transactions_do_not_move_pages(api: Api) -> None:
    """A cursor names an item, not an offset: new transactions neither repeat nor hide old ones."""
    ids = deposits(api, 4)
    first = api.get("/v1/transactions", params={"limit": "2"}).json
    deposits(api, 3)
    second = api.get("/v1/transactions", params={"limit": "2", "cursor": first["next_cursor"]}).json

    assert [it["transaction_id"] for it in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


def test_a_page_has_fifty_items_by_default(api: Api) -> None:
    """The default page has 50 items."""
    deposits(api, 51)
    page = api.get("/v1/transactions").json
    assert len(page["items"]) == 50
    assert page["next_cursor"]


def test_an_empty_list_is_an_empty_page(api: Api) -> None:
    """Nothing to list is an empty page."""
    assert api.get("/v1/transactions").json == {"items": [], "next_cursor": None}


def test_each_filter_of_transactions(api: Api, world: World) -> None:
    """Every filter works alone and together with others."""
    first, second, third = (
        *deposits(api, 1, customer_id="a"),
        *deposits(api, 1, customer_id="b", gateway="gatewayB"),
        *deposits(api, 1, customer_id="b"),
    )
    world.settle("a", first, Approved("A-1", final=True))
    world.settle("b", second, Unknown("?"))
    world.change(third, "b", kind=Kind.WITHDRAWAL)
    expected = {
        "customer_id=a": [first],
        "customer_id=b": [third, second],
        "customer_id=c": [],
        "status=completed": [first],
        "status=unknown": [second],
        "status=pending": [third],
        "status=processed": [],
        "gateway=gatewayB": [second],
        "type=deposit": [second, first],
        "type=withdrawal": [third],
        "created_from=2026-11-22T12:00:01.123456Z": [third, second],
        "created_from=2026-11-22T12:00:01.1234561Z": [third],
        "created_to=2026-11-22T12:00:01.123456Z": [first],
        "created_to=2026-11-22T12:00:01.1234561Z": [second, first],
        "created_from=2026-11-22T13:00:01.123456%2B01:00&created_to=2026-11-22T12:00:02Z": [second],
        "customer_id=b&gateway=gatewayA&status=pending&type=withdrawal": [third],
        "customer_id=a&gateway=gatewayB": [],
    }
    found = {
        query: [it["transaction_id"] for it in api.get("/v1/transactions", query_string=query).json["items"]]
        for query in expected
    }
    assert found == expected


def test_pages_keep_their_filter(api: Api) -> None:
    """All pages of a filtered list can be read."""
    deposits(api, 5, customer_id="a")
    deposits(api, 5, customer_id="b")
    assert {it["customer_id"] for it in all_items(api, "/v1/transactions", 2, customer_id="a")} == {"a"}
    assert len(all_items(api, "/v1/transactions", 2, customer_id="a")) == 5


def test_a_customer(api: Api, world: World) -> None:
    """A customer shows the balance of each currency, as text with all decimals."""
    for currency, amount in (("USD", "100.5"), ("JPY", "7"), ("KWD", "0.001")):
        (transaction_id,) = deposits(api, 1, currency=currency, amount=amount)
        world.settle("12345", transaction_id, Approved(f"A-{currency}", final=True))

    assert api.get("/v1/customers/12345").json == {
        "customer_id": "12345",
        "version": 9,
        "balances": [
            {"currency": "JPY", "available": "7", "reserved": "0"},
            {"currency": "KWD", "available": "0.001", "reserved": "0.000"},
            {"currency": "USD", "available": "100.50", "reserved": "0.00"},
        ],
    }


def test_a_customer_id_with_every_kind_of_character(api: Api) -> None:
    """Ids with every allowed character can be read, unchanged and percent-encoded."""
    deposits(api, 1, customer_id="AZaz09._:@-")
    assert api.get("/v1/customers/AZaz09._:@-").status_code == 200
    assert api.get("/v1/customers/AZaz09._%3A%40-/events").status_code == 200


@pytest.mark.parametrize("path", ["/v1/customers/{}", "/v1/customers/{}/events"])
@pytest.mark.parametrize("name", ["unknown", "%00", "a%20b", "%C3%A9", "x" * 129, "a%2Fb"])
def test_no_such_customer(api: Api, path: str, name: str) -> None:
    """A customer without events does not exist, for every form of id."""
    deposits(api, 1)
    assert api.get(path.format(name)).status_code == 404


@pytest.mark.parametrize("limit", [1, 2, 3, 200])
def test_the_events_of_a_customer(api: Api, world: World, limit: int) -> None:
    """A stream is read by ascending version without gaps, each event as it is recorded."""
    (transaction_id,) = deposits(api, 1)
    deposits(api, 1, customer_id="other")
    world.settle("12345", transaction_id, Approved("A-1", final=True))
    events = all_items(api, "/v1/customers/12345/events", limit)

    assert [it["version"] for it in events] == [1, 2, 3]
    assert [it["type"] for it in events] == ["DepositReceived", "DepositProcessed", "DepositCompleted"]
    assert {(it["stream_name"], it["stream_id"]) for it in events} == {("main", "12345")}
    assert events[1]["data"] == {"transaction_id": transaction_id, "gateway_reference": "A-1"}
    assert events[0]["metadata"] == {"correlation_id": "generated-1"}
    assert events[0]["occurred_at"] == "2026-11-22T12:00:00.123456Z"
    assert len({it["hash"] for it in events}) == 3


def test_a_cursor_at_the_end_of_a_stream(api: Api) -> None:
    """A cursor after the last event gets an empty page for a customer, and 404 for an unknown one."""
    deposits(api, 2)
    cursor = api.get("/v1/customers/12345/events", params={"limit": "1"}).json["next_cursor"]
    deposits(api, 1, customer_id="short")

    assert api.get("/v1/customers/short/events", params={"cursor": cursor}).json == {"items": [], "next_cursor": None}
    assert api.get("/v1/customers/unknown/events", params={"cursor": cursor}).status_code == 404


def test_gateways(api: Api) -> None:
    """The gateways show breaker and bulkhead. A single gateway shows the same as the list."""
    gateways = api.get("/v1/gateways").json
    assert [it["name"] for it in gateways["items"]] == ["gatewayA", "gatewayB"]
    assert gateways["next_cursor"] is None
    assert gateways["items"][1] == {
        "name": "gatewayB",
        "adapter": "gateway_b",
        "currencies": ["EUR", "USD"],
        "breaker": {
            "state": "open",
            "mode": "auto",
            "error_percent": 60,
            "requests": 5,
            "opened_at": "2026-11-22T12:00:00.123456Z",
            "reopens_at": "2026-11-22T12:00:10.123456Z",
        },
        "bulkhead": {"in_flight": 1, "waiting": 2, "max_concurrent": 20},
    }
    assert [api.get(f"/v1/gateways/{it['name']}").json for it in gateways["items"]] == gateways["items"]
    assert all_items(api, "/v1/gateways", 1) == gateways["items"]


@pytest.mark.parametrize("name", ["gatewayC", "gatewaya", "%00", "a%20b", "x" * 500])
def test_no_such_gateway(api: Api, world: World, name: str) -> None:
    """A gateway that is not configured is a 404, even when the supervisor does not answer."""
    world.deaf = True
    assert api.get(f"/v1/gateways/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/v1/gateways", "/v1/gateways/gatewayA"])
def test_a_supervisor_that_does_not_answer(api: Api, world: World, path: str) -> None:
    """When the supervisor does not answer in time, the answer is 503, not 500."""
    world.deaf = True
    result = api.get(path)
    assert (result.status_code, result.headers["Retry-After"]) == (503, "1")


def test_every_status_and_failure_conforms_to_the_document(api: Api, world: World) -> None:
    """In every state of a transaction the answer conforms to the document."""
    (transaction_id,) = deposits(api, 1)
    for status in Status:
        failure = Failure("late", None, "m") if status is Status.FAILED else None
        world.change(transaction_id, "12345", status=status, failure=failure)
        assert api.get(f"/v1/transactions/{transaction_id}").json["status"] == status
