"""Refunds, captures and voids: the commands that reach the actors, their answers, and the list of them."""

from __future__ import annotations

import json

import pytest

from actors.replies import NotStored, Uncertain
from domain.account import Refused
from domain.commands import ReceiveChild
from domain.events import Kind
from domain.outcomes import AUTHORIZATION_CANCELLED, Approved, Authorization, Declined
from store.codec import Metadata
from store.port import StreamKey
from tests.api.support import Api
from tests.api.world import World

ROUTES = {Kind.REFUND: "refunds", Kind.CAPTURE: "captures", Kind.VOID: "voids"}
ABSENT = "019ab000-0000-7000-8000-00000000ffff"


def path_of(kind: Kind, transaction_id: str) -> str:
    """The path for a command on a transaction."""
    return f"/v1/transactions/{transaction_id}/{ROUTES[kind]}"


@pytest.fixture
def taken(api: Api, world: World) -> str:
    """A completed deposit of 100.00 USD."""
    transaction_id: str = api.deposit().json["transaction_id"]
    world.settle("12345", transaction_id, Approved("A-1", final=True))
    return transaction_id


@pytest.fixture
def held(api: Api, world: World) -> str:
    """An authorized deposit of 100.00 USD."""
    transaction_id: str = api.deposit(capture="manual").json["transaction_id"]
    world.settle("12345", transaction_id, Authorization("A-2"))
    return transaction_id


@pytest.fixture
def parents(taken: str, held: str) -> dict[Kind, str]:
    """For each kind of command a transaction that it is possible on."""
    return {Kind.REFUND: taken, Kind.CAPTURE: held, Kind.VOID: held}


def test_a_refund(api: Api, world: World, taken: str) -> None:
    """The answer is the refund with its parent, reserved from the balance; the parent shows its amounts."""
    result = api.order(path_of(Kind.REFUND, taken), {"amount": "40.00", "reason": "Returned."})

    refund_id = result.json["transaction_id"]
    assert result.status_code == 202
    assert result.headers["Location"] == f"/v1/transactions/{refund_id}"
    assert result.json == {
        "transaction_id": refund_id,
        "type": "refund",
        "status": "pending",
        "amount": "40.00",
        "currency": "USD",
        "gateway": "gatewayA",
        "customer_id": "12345",
        "details": {},
        "gateway_reference": None,
        "failure": None,
        "parent_id": taken,
        "reason": "Returned.",
        "captured_amount": None,
        "refunded_amount": "0.00",
        "refunding_amount": "0.00",
        "authorization_expires_at": None,
        "attention": None,
        "version": 4,
        "created_at": "2026-11-22T12:00:03.123456Z",
        "updated_at": "2026-11-22T12:00:03.123456Z",
    }
    assert [(stream, command) for stream, command, _ in world.children] == [
        (StreamKey("main", "12345"), ReceiveChild(Kind.REFUND, refund_id, taken, 4000, "Returned.")),
    ]

    def amounts() -> tuple[str, str, str]:
        deposit = api.get(f"/v1/transactions/{taken}").json
        balance = api.get("/v1/customers/12345").json["balances"][0]
        assert deposit["status"] == "completed"
        return deposit["refunding_amount"], deposit["refunded_amount"], balance["available"]

    assert amounts() == ("40.00", "0.00", "60.00")
    world.complete("12345", refund_id)
    assert amounts() == ("0.00", "40.00", "60.00")


def test_a_capture(api: Api, world: World, held: str) -> None:
    """A smaller amount is captured. The deposit is completed with it, and only it reaches the balance."""
    deposit = api.get(f"/v1/transactions/{held}").json
    assert (deposit["status"], deposit["captured_amount"]) == ("authorized", None)
    assert deposit["authorization_expires_at"] == "2026-11-29T12:00:00.000000Z"
    capture = api.order(path_of(Kind.CAPTURE, held), {"amount": 60}).json
    assert (capture["type"], capture["amount"], capture["parent_id"]) == ("capture", "60.00", held)
    world.complete("12345", capture["transaction_id"])
    deposit = api.get(f"/v1/transactions/{held}").json
    assert (deposit["status"], deposit["amount"], deposit["captured_amount"]) == ("completed", "100.00", "60.00")
    assert api.get("/v1/customers/12345").json["balances"][0]["available"] == "60.00"


def test_a_void(api: Api, world: World, held: str) -> None:
    """A void shows the amount of its deposit, which ends as voided."""
    void = api.order(path_of(Kind.VOID, held), ...).json
    assert (void["type"], void["amount"], void["parent_id"]) == ("void", "100.00", held)
    world.complete("12345", void["transaction_id"])
    deposit = api.get(f"/v1/transactions/{held}").json
    assert (deposit["status"], deposit["failure"], deposit["captured_amount"]) == ("voided", None, None)


def test_a_hold_that_is_gone(api: Api, world: World, held: str) -> None:
    """When the gateway declines a capture because it no longer holds the money, the deposit has failed as well."""
    capture = api.order(path_of(Kind.CAPTURE, held), {}).json
    world.settle("12345", capture["transaction_id"], Declined(AUTHORIZATION_CANCELLED, None, "Gone."))
    deposit = api.get(f"/v1/transactions/{held}").json
    assert (deposit["status"], deposit["failure"]["code"]) == ("failed", "authorization_cancelled")


@pytest.mark.parametrize("kind", ROUTES)
@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain"])
def test_an_empty_body_is_an_empty_object(
    api: Api, world: World, parents: dict[Kind, str], kind: Kind, content_type: str | None
) -> None:
    """Without fields the body may be missing, of any media type, with a length or chunked."""
    path = path_of(kind, parents[kind])
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    extras: dict[str, object]
    for extras in ({}, chunked):
        assert api.post(b"", content_type, path=path, extras=extras).status_code in (202, 409, 422)
    assert api.post(b"{}", path=path).status_code in (202, 409, 422)
    assert {(command.minor, command.reason) for _, command, _ in world.children} == {(None, None)}
    assert len(world.children) == 3


@pytest.mark.parametrize("kind", ROUTES)
def test_a_body_needs_its_media_type(api: Api, world: World, parents: dict[Kind, str], kind: Kind) -> None:
    """A body that is not empty is JSON by its media type, with a length or chunked, in the one known encoding."""
    path = path_of(kind, parents[kind])
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    gzip = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "gzip", "wsgi.input_terminated": True}
    assert api.post(b"{}", "text/plain", path=path).status_code == 415
    assert api.post(b"{}", None, path=path, extras=chunked).status_code == 415
    assert api.post(b"", path=path, extras=gzip).status_code == 415
    assert api.post(b"{}".ljust(64 * 1024 + 1), path=path).status_code == 413
    assert api.post(b"{}".ljust(64 * 1024 + 1), path=path, extras=chunked).status_code == 413
    assert api.post(b" ", path=path).json["type"] == "/problems/malformed-body"
    assert api.post(b"null", path=path).json["type"] == "/problems/malformed-body"
    assert world.children == []
    assert api.post(b"{}".ljust(64 * 1024), path=path, extras=chunked).status_code == 202


@pytest.mark.parametrize("amount", [1, "1", "1.00", 1.0, "1.000"])
@pytest.mark.parametrize("kind", [Kind.REFUND, Kind.CAPTURE])
def test_amounts_count_by_their_value(
    api: Api, world: World, parents: dict[Kind, str], kind: Kind, amount: object
) -> None:
    """Every spelling of an amount becomes the number of minor units."""
    assert api.order(path_of(kind, parents[kind]), {"amount": amount}).status_code == 202
    assert world.children[0][1].minor == 100


@pytest.mark.parametrize(
    ("currency", "right", "wrong"), [("JPY", "5", "0.5"), ("JPY", 5.0, 5.5), ("KWD", "0.001", "0.0001")]
)
def test_the_currency_of_the_parent_gives_the_decimals(
    api: Api, world: World, currency: str, right: object, wrong: object
) -> None:
    """An amount has no more decimals than the currency of the deposit."""
    transaction_id = api.deposit(amount=10, currency=currency).json["transaction_id"]
    world.complete("12345", transaction_id)
    refused = api.order(path_of(Kind.REFUND, transaction_id), {"amount": wrong})
    assert (refused.status_code, [*refused.json["errors"]]) == (400, ["amount"])
    refund = api.order(path_of(Kind.REFUND, transaction_id), {"amount": right}).json
    assert (refund["currency"], refund["amount"]) == (currency, "0.001" if currency == "KWD" else "5")


BAD_AMOUNTS: list[object] = [None, True, 0, -1, "0.00", "", "x", "1e2", 1.005, "10000000000.01", [], {}]
BAD_REASONS: list[object] = [None, 1, "", " ", "x" * 501, "a\x00", "\ud800", ["x"]]
WRONG: list[tuple[str, object]] = [
    *(("amount", value) for value in BAD_AMOUNTS),
    *(("reason", value) for value in BAD_REASONS),
    *((name, "x") for name in ("currency", "gateway", "customer_id", "details", "capture", "Amount", "")),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_every_wrong_field_is_named(api: Api, world: World, parents: dict[Kind, str], name: str, value: object) -> None:
    """A wrong or unknown field gets 400 with its name, and nothing reaches the actors."""
    for kind, parent_id in parents.items():
        refused = api.order(path_of(kind, parent_id), {name: value})
        assert (refused.status_code, refused.json["type"]) == (400, "/problems/invalid-request")
        assert [*refused.json["errors"]] == [name]
    assert world.children == []


def test_the_fields_of_other_commands_are_unknown(api: Api, world: World, held: str) -> None:
    """A capture has no reason, a void neither reason nor amount."""
    for kind, body in ((Kind.CAPTURE, {"reason": "x"}), (Kind.VOID, {"reason": "x"}), (Kind.VOID, {"amount": 1})):
        refused = api.order(path_of(kind, held), body)
        assert refused.json["errors"] == {name: ["Unknown field."] for name in body}
    assert world.children == []


def test_all_wrong_fields_are_named_together(api: Api, taken: str) -> None:
    """An amount that is wrong by its currency is named beside the other wrong fields."""
    refused = api.order(path_of(Kind.REFUND, taken), {"amount": "1.005", "reason": "", "more": 1})
    assert sorted(refused.json["errors"]) == ["amount", "more", "reason"]


@pytest.mark.parametrize("kind", ROUTES)
@pytest.mark.parametrize("name", ["x", "0", ABSENT, "019AB000-0000-7000-8000-000000000001", "%00", "a%20b"])
def test_an_unknown_parent(api: Api, world: World, kind: Kind, name: str) -> None:
    """404 for any id that is not a transaction of the merchant, whatever the body."""
    for body in ({}, {"amount": 0}):
        assert api.order(path_of(kind, name), body).status_code == 404
    assert api.get(f"/v1/transactions/{name}/children").status_code == 404
    assert world.children == []


@pytest.mark.parametrize("kind", ROUTES)
def test_a_query_or_a_store_that_does_not_answer(api: Api, world: World, parents: dict[Kind, str], kind: Kind) -> None:
    """A query is refused. Without the parent nothing is decided: 503."""
    path = path_of(kind, parents[kind])
    assert [*api.post(b"{}", path=path, query_string="x=1").json["errors"]] == ["x"]
    world.down = True
    assert api.order(path, {}).status_code == 503
    assert world.children == []


@pytest.mark.parametrize("kind", ROUTES)
def test_a_gateway_without_the_operation(api: Api, world: World, parents: dict[Kind, str], kind: Kind) -> None:
    """422 where the gateway cannot do it, 409 while the gateway is not configured; nothing reaches the actors."""
    path = path_of(kind, parents[kind])
    world.unsupported = {("gatewayA", kind)}
    refused = api.order(path, {})
    assert (refused.status_code, refused.json["type"]) == (422, "/problems/not-supported")
    assert f"{kind}s" in refused.json["detail"]
    assert api.order(path, {"amount": 0}).status_code == 400, "wrong fields are named first"
    world.unsupported = set()
    world.change(parents[kind], "12345", gateway="gatewayGone")
    refused = api.order(path, {})
    assert (refused.status_code, refused.json["type"]) == (409, "/problems/gateway-not-configured")
    assert "gatewayGone" in refused.json["detail"]
    assert world.children == []


def test_a_parent_whose_status_does_not_permit_it(api: Api, taken: str, held: str) -> None:
    """409 with the reason and the status, and nothing is recorded under the key."""
    for kind, parent_id, status in (
        (Kind.REFUND, held, "authorized"),
        (Kind.CAPTURE, taken, "completed"),
        (Kind.VOID, taken, "completed"),
    ):
        refused = api.order(path_of(kind, parent_id), {}, key="k")
        assert (refused.status_code, refused.json["type"]) == (409, "/problems/not-possible-now")
        assert (refused.json["transaction_status"], status in refused.json["detail"]) == (status, True)
    assert api.order(path_of(Kind.REFUND, taken), {}, key="k").status_code == 202
    assert api.order(path_of(Kind.CAPTURE, held), {}, key="k").status_code == 202
    assert api.order(path_of(Kind.VOID, held), {}, key="k").status_code == 409, "the capture is in progress"


def test_children_of_children_and_withdrawals_are_not_possible(api: Api, world: World, taken: str) -> None:
    """Only a deposit has children."""
    refund_id = api.order(path_of(Kind.REFUND, taken), {"amount": 1}).json["transaction_id"]
    world.complete("12345", refund_id)
    withdrawal_id = api.withdraw(amount=1).json["transaction_id"]
    world.complete("12345", withdrawal_id)
    for kind in ROUTES:
        for transaction_id in (refund_id, withdrawal_id):
            refused = api.order(path_of(kind, transaction_id), {})
            assert (refused.status_code, refused.json["type"]) == (409, "/problems/not-possible-now")


def test_an_amount_above_what_is_left(api: Api, world: World, parents: dict[Kind, str]) -> None:
    """422 with what is left, for refunds in progress and completed ones as well."""
    for kind in (Kind.REFUND, Kind.CAPTURE):
        refused = api.order(path_of(kind, parents[kind]), {"amount": "100.01"})
        assert (refused.status_code, refused.json["type"]) == (422, "/problems/amount-too-large")
        assert (refused.json["available"], refused.json["currency"]) == ("100.00", "USD")
    refunds = path_of(Kind.REFUND, parents[Kind.REFUND])
    world.complete("12345", api.order(refunds, {"amount": 30}).json["transaction_id"])
    assert api.order(refunds, {"amount": 30}).status_code == 202
    assert api.order(refunds, {"amount": "40.01"}).json["available"] == "40.00"
    assert api.order(refunds, {}).json["amount"] == "40.00"
    nothing = api.order(refunds, {})
    assert (nothing.status_code, nothing.json["available"]) == (422, "0.00")


def test_a_refund_needs_a_balance(api: Api, world: World, taken: str) -> None:
    """422 when the customer's balance is short, unless balances are kept elsewhere."""
    assert api.withdraw(amount=90).status_code == 202
    refused = api.order(path_of(Kind.REFUND, taken), {"amount": 50})
    assert (refused.status_code, refused.json["type"]) == (422, "/problems/insufficient-funds")
    assert refused.json["available"] == "10.00"
    unchecked = Api(world, checked_withdrawals=False)
    assert unchecked.order(path_of(Kind.REFUND, taken), {"amount": 50}).status_code == 202
    assert [command.checked for _, command, _ in world.children] == [True, False]
    assert api.get("/v1/customers/12345").json["balances"][0]["available"] == "10.00"


# idempotency keys


@pytest.mark.parametrize("kind", ROUTES)
def test_a_command_under_a_key_happens_once(api: Api, world: World, parents: dict[Kind, str], kind: Kind) -> None:
    """The same command again shows the same transaction as it is now, also once its parent has ended."""
    path = path_of(kind, parents[kind])
    first = api.order(path, {}, key="k-1")
    world.complete("12345", first.json["transaction_id"])
    again = api.order(path, ..., key="k-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (first.json["status"], again.json["status"]) == ("pending", "completed")


def test_what_makes_two_commands_the_same(api: Api, world: World, taken: str) -> None:
    """The parent, the amount by value or its omission, and the reason."""
    other = api.deposit().json["transaction_id"]
    world.complete("12345", other)
    path = path_of(Kind.REFUND, taken)
    assert api.order(path, {"amount": 100, "reason": "r"}, key="k").status_code == 202
    for body in ({"amount": "100.00", "reason": "r"}, {"reason": "r", "amount": 100.0}):
        assert api.order(path, body, key="k").headers["Idempotent-Replayed"] == "true"
    others: list[tuple[str, dict[str, object]]] = [
        (taken, {"amount": 99, "reason": "r"}),
        (taken, {"amount": 100}),
        (taken, {"amount": 100, "reason": "R"}),
        (taken, {"reason": "r"}),
        (other, {"amount": 100, "reason": "r"}),
    ]
    for parent_id, changed in others:
        reused = api.order(path_of(Kind.REFUND, parent_id), changed, key="k")
        assert (reused.status_code, reused.json["type"]) == (422, "/problems/idempotency-key-reused")


def test_a_key_belongs_to_its_operation(api: Api, world: World, parents: dict[Kind, str]) -> None:
    """Each kind of command may use the same key once."""
    void = api.order(path_of(Kind.VOID, parents[Kind.VOID]), {}, key="k")
    world.settle("12345", void.json["transaction_id"], Declined("do_not_honor", None, "No."))
    others = [api.order(path_of(kind, parents[kind]), {}, key="k") for kind in (Kind.REFUND, Kind.CAPTURE)]
    assert [it.status_code for it in (void, *others)] == [202] * 3
    assert api.command("/v1/deposit", key="k").status_code == 202
    assert {scope for scope, _ in world.claims} == {
        f"idempotency:{kind}:main" for kind in ("refund", "capture", "void", "deposit")
    }


def test_a_recorded_refusal_is_replayed(api: Api, world: World, taken: str) -> None:
    """A 422 of the actors is repeated under its key."""
    path = path_of(Kind.REFUND, taken)
    answers = [api.order(path, {"amount": 101}, key="k") for _ in range(2)]
    assert [it.json["type"] for it in answers] == ["/problems/amount-too-large"] * 2
    assert [it.headers.get("Idempotent-Replayed") for it in answers] == [None, "true"]
    world.unsupported = {("gatewayA", Kind.REFUND)}
    assert api.order(path, {}, key="k-2").json["type"] == "/problems/not-supported"
    world.unsupported = set()
    assert api.order(path, {}, key="k-2").status_code == 202, "a gateway's abilities are checked before"


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256])
@pytest.mark.parametrize("kind", ROUTES)
def test_an_invalid_key_is_named(api: Api, world: World, parents: dict[Kind, str], kind: Kind, key: str) -> None:
    """An invalid key gets 400 with the header's name."""
    refused = api.post(b"{}", path=path_of(kind, parents[kind]), extras={"HTTP_IDEMPOTENCY_KEY": key})
    assert (refused.status_code, [*refused.json["errors"]]) == (400, ["Idempotency-Key"])
    assert world.children == []


# replies of the actors


@pytest.mark.parametrize("kind", ROUTES)
def test_other_replies(api: Api, world: World, parents: dict[Kind, str], kind: Kind) -> None:
    """Not stored is 503, not known is 504 with the id of the new transaction, and a new refusal is shown."""
    path = path_of(kind, parents[kind])
    world.reply = NotStored("A process of an earlier version runs.", retry_after_s=7)
    refused = api.order(path, {})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "7")
    world.reply = Uncertain(ABSENT)
    assert api.order(path, {}).json["transaction_id"] == ABSENT
    world.reply = RuntimeError("secret")
    unknown = api.order(path, {})
    assert (unknown.status_code, unknown.json["transaction_id"]) == (504, world.children[-1][1].transaction_id)
    world.reply = Refused("not-supported", "The gateway's own reference of the transaction is not known.")
    refused = api.order(path, {})
    assert (refused.status_code, refused.json["type"]) == (422, "/problems/not-supported")


def test_the_request_id_is_the_correlation_id(api: Api, world: World, taken: str) -> None:
    """The client's request id is stored with the command, and the list can be filtered by it."""
    result = api.post(b"{}", path=path_of(Kind.REFUND, taken), headers={"X-Request-ID": "my-id!"})
    assert world.children[0][2] == Metadata(correlation_id="my-id!")
    found = api.get("/v1/transactions", params={"correlation_id": "my-id!"}).json["items"]
    assert found == [result.json]


# reads


def test_the_children_of_a_deposit(api: Api, world: World, taken: str, held: str) -> None:
    """Newest first, page by page; nothing of other transactions."""
    assert api.get(f"/v1/transactions/{taken}/children").json == {"items": [], "next_cursor": None}
    refunds = [api.order(path_of(Kind.REFUND, taken), {"amount": 1}).json["transaction_id"] for _ in range(5)]
    void = api.order(path_of(Kind.VOID, held), {}).json
    world.settle("12345", void["transaction_id"], Declined("do_not_honor", None, "No."))
    capture = api.order(path_of(Kind.CAPTURE, held), {}).json
    found: list[str] = []
    cursor = None
    while cursor is not None or not found:
        params = {"limit": "2", **({} if cursor is None else {"cursor": cursor})}
        page = api.get(f"/v1/transactions/{taken}/children", params=params).json
        found += [it["transaction_id"] for it in page["items"]]
        cursor = page["next_cursor"]
    assert found == refunds[::-1]
    both = api.get(f"/v1/transactions/{held}/children").json["items"]
    assert [(it["type"], it["status"]) for it in both] == [("capture", "pending"), ("void", "failed")]
    assert both[0] == capture


@pytest.mark.parametrize(
    ("query", "name"),
    [("limit=0", "limit"), ("cursor=x", "cursor"), ("status=pending", "status"), ("type=refund", "type")],
)
def test_a_wrong_query_of_children_is_named(api: Api, taken: str, query: str, name: str) -> None:
    """The list has a limit and a cursor only."""
    result = api.get(f"/v1/transactions/{taken}/children", query_string=query)
    assert (result.status_code, [*result.json["errors"]]) == (400, [name])


def test_filters_for_children(api: Api, world: World, taken: str, held: str) -> None:
    """Transactions are found by type, parent and the gateway's reference."""
    refund = api.order(path_of(Kind.REFUND, taken), {"amount": 1}).json["transaction_id"]
    world.settle("12345", refund, Approved("R-7", final=True))
    capture = api.order(path_of(Kind.CAPTURE, held), {}).json["transaction_id"]
    expected = {
        "type=refund": [refund],
        "type=void": [],
        "status=authorized": [held],
        "status=voided": [],
        f"parent_id={taken}": [refund],
        f"parent_id={held}&type=capture": [capture],
        f"parent_id={held}&type=refund": [],
        f"parent_id={ABSENT}": [],
        "gateway_reference=R-7": [refund],
        "gateway_reference=A-1&type=deposit": [taken],
        "gateway_reference=R-8": [],
        f"gateway_reference=R-7&parent_id={held}": [],
        "correlation_id=absent": [],
    }
    found = {
        query: [it["transaction_id"] for it in api.get("/v1/transactions", query_string=query).json["items"]]
        for query in expected
    }
    assert found == expected


def test_the_examples_are_accepted(api: Api, world: World, parents: dict[Kind, str]) -> None:
    """The examples of the document are accepted unchanged, and the document says that the body may be missing."""
    for kind, parent_id in parents.items():
        item = api.document["paths"][f"/v1/transactions/{{transaction_id}}/{ROUTES[kind]}"]["post"]
        assert item["requestBody"]["required"] is False
        for example in item["requestBody"]["content"]["application/json"]["examples"].values():
            accepted = api.post(json.dumps(example["value"]), path=path_of(kind, parent_id))
            assert accepted.status_code == 202
            world.settle("12345", accepted.json["transaction_id"], Declined("do_not_honor", None, "No."))
