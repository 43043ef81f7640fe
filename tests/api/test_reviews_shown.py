"""Callbacks that cannot be applied, as operators see them: a real service, from the signed request to the review."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest

from domain.gateway_report import BODY_MAX
from store.verify import verify
from tests.api.live import Live, living, until
from tests.api.support import Api
from tests.gateways.callback_signers import MEMBERS, SIGNER_A, SIGNER_B, Signer

CALLERS: Final = {"gatewayA": SIGNER_A, "gatewayB": SIGNER_B}
CARD: Final = "4111111111111111"
_numbers = count(1)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service for the tests of this module."""
    with living(tmp_path_factory.mktemp("reviews")) as service:
        yield service


@pytest.fixture(scope="module")
def api(live: Live) -> Api:
    """Its API."""
    return Api(live)


def send_callback(api: Api, body: bytes, *, gateway: str = "gatewayA", event_id: str | None = None) -> str:
    """Send a genuine callback, and return its event id."""
    event_id = event_id or f"evt-{next(_numbers)}"
    caller: Signer = CALLERS[gateway]
    headers = caller.headers(caller.secrets[0], event_id, str(int(time.time())), body)
    assert api.request("POST", f"/v1/callbacks/{gateway}", body=body, headers=headers).status_code == 200
    return event_id


def callback_body(transaction_id: str, **members: object) -> dict[str, object]:
    """The body of a callback about a transaction of 1.03 USD."""
    return {
        **MEMBERS,
        "reference": transaction_id,
        "gateway_reference": f"A-{transaction_id}",
        "amount": "1.03",
        **members,
    }


def review_of(api: Api, event_id: str) -> dict[str, Any]:
    """The only review that shows this event id, in the list and on its own."""
    items = api.get("/v1/reviews", params={"limit": "200"}).json["items"]
    (found,) = [it for it in items if it["said"] is not None and it["said"]["event_id"] == event_id]
    alone = api.get(f"/v1/reviews/{found['id']}")
    assert (alone.status_code, alone.json) == (200, found)
    return dict(alone.json)


def attention(api: Api, transaction_id: str) -> str | None:
    """The ``attention`` of the transaction."""
    it = api.get(f"/v1/transactions/{transaction_id}").json
    return it["attention"]  # type: ignore[no-any-return]


@pytest.fixture
def transaction_id(api: Api) -> str:
    """A deposit of 1.03 USD that gatewayA has accepted, and whose final result is still to come."""
    created = api.deposit(amount="1.03").json["transaction_id"]
    until(lambda: api.get(f"/v1/transactions/{created}").json["status"] == "processed")
    return str(created)


ODD: Final[dict[str, tuple[dict[str, object], str]]] = {
    "an unknown status": ({"status": "settled"}, "it has a status that is not known"),
    "a number as the status": ({"status": 7}, "it has a status that is not known"),
    "an invalid amount": ({"amount": "1,03"}, "it has no usable amount and currency"),
    "an unknown currency": ({"currency": "DOGE"}, "it has no usable amount and currency"),
    "no usable reference": ({"gateway_reference": None}, "it has no usable transaction_id"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_partly_readable_callback(api: Api, transaction_id: str, case: str) -> None:
    """The review belongs to the transaction and shows the report and the record. The status does not change."""
    members, problem = ODD[case]
    said = callback_body(transaction_id, **members)
    body = SIGNER_A.body(said)
    event_id = send_callback(api, body)
    review = review_of(api, event_id)
    assert review["transaction_id"] == transaction_id
    assert review["customer_id"] == "12345"
    assert review["gateway"] == "gatewayA"
    assert review["reason"] == f"A callback cannot be read: {problem}"
    shown = {name: None if value is None else str(value) for name, value in said.items()}
    assert {name: review["said"][name] for name in shown} == shown
    assert (review["said"]["source"], review["said"]["at"]) == ("callback", review["opened_at"])
    assert (review["said"]["body"], review["said"]["body_bytes"]) == (body.decode(), len(body))
    assert review["expected"] == {
        "gateway": "gatewayA",
        "status": "processed",
        "amount": "1.03",
        "currency": "USD",
        "gateway_reference": f"A-{transaction_id}",
    }
    assert attention(api, transaction_id) == "review"
    assert api.get(f"/v1/transactions/{transaction_id}").json["status"] == "processed"


def test_another_amount(api: Api, transaction_id: str) -> None:
    """A review of a readable callback that contradicts the record shows both amounts."""
    review = review_of(
        api, send_callback(api, SIGNER_A.body(callback_body(transaction_id, amount="7.50", currency="EUR")))
    )
    assert (review["said"]["amount"], review["said"]["currency"]) == ("7.50", "EUR")
    assert (review["expected"]["amount"], review["expected"]["currency"]) == ("1.03", "USD")
    assert attention(api, transaction_id) == "review"


def test_a_contradiction_to_a_final_status(api: Api, transaction_id: str) -> None:
    """The review of a completed transaction shows the contradicting report."""
    send_callback(api, SIGNER_A.body(callback_body(transaction_id)))
    assert attention(api, transaction_id) is None
    review = review_of(api, send_callback(api, SIGNER_A.body(callback_body(transaction_id, status="failed"))))
    assert (review["said"]["status"], review["expected"]["status"]) == ("failed", "completed")
    assert attention(api, transaction_id) == "review"


def test_the_same_id_with_another_body(api: Api, transaction_id: str) -> None:
    """A second body under the same event id opens one review, which shows that body, also a partly readable one."""
    event_id = send_callback(api, SIGNER_A.body(callback_body(transaction_id)))
    other = SIGNER_A.body(callback_body(transaction_id, status="settled"))
    for _ in range(3):
        send_callback(api, other, event_id=event_id)
    review = review_of(api, event_id)
    assert review["transaction_id"] == transaction_id
    assert review["said"]["status"] == "settled"
    assert review["said"]["body"] == other.decode()


@pytest.mark.parametrize("copies", [2, 4])
def test_copies_open_one_review(api: Api, transaction_id: str, copies: int) -> None:
    """Copies of an unusable callback open one review, however many arrive."""
    body, event_id = SIGNER_A.body(callback_body(transaction_id, status="settled")), f"evt-{next(_numbers)}"
    for _ in range(copies):
        send_callback(api, body, event_id=event_id)
    assert review_of(api, event_id)["transaction_id"] == transaction_id


def test_a_transaction_of_another_gateway(api: Api, transaction_id: str) -> None:
    """A report about a transaction of another gateway opens a review of the reporting gateway only."""
    body = SIGNER_B.body(callback_body(transaction_id, status="settled"))
    review = review_of(api, send_callback(api, body, gateway="gatewayB"))
    assert (review["transaction_id"], review["customer_id"], review["gateway"]) == (None, None, "gatewayB")
    assert review["said"]["reference"] == transaction_id
    assert review["expected"] is None
    assert attention(api, transaction_id) is None


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        b"",
        b"\x00\xff\x00",
        b'{"reference": "\\ud800", "status": "\\u0000"}',
        json.dumps({"status": "x" * 9_000}).encode(),
    ],
    ids=["text", "empty", "bytes", "half a character", "long"],
)
def test_an_unreadable_callback(api: Api, body: bytes) -> None:
    """The review belongs to the gateway and shows the stored beginning of the body."""
    review = review_of(api, send_callback(api, body))
    assert (review["transaction_id"], review["gateway"], review["expected"]) == (None, "gatewayA", None)
    assert review["said"]["body_bytes"] == len(body)
    assert len(review["said"]["body"]) <= BODY_MAX
    assert "\0" not in json.dumps(review)
    if body.isascii() and b"\0" not in body:
        assert review["said"]["body"] == body.decode()[:BODY_MAX]


def test_card_numbers_are_masked(api: Api, transaction_id: str) -> None:
    """Card numbers are masked in each member and in the body, also in a body that is cut within a number."""
    padding = "x" * (BODY_MAX - 60)
    for body in (
        SIGNER_A.body(callback_body(transaction_id, status=CARD, amount=int(CARD), currency=f"card {CARD}")),
        json.dumps({"pan": CARD}).encode(),
        f'{{"note": "{padding}", "pan": "{CARD}"}}'.encode(),
    ):
        review = review_of(api, send_callback(api, body))
        assert CARD not in json.dumps(review)
        assert "411111******1111" in json.dumps(review) or len(body) > BODY_MAX


def test_waiting_callbacks(api: Api) -> None:
    """A callback without a known transaction is listed until it is matched or a review, in pages and by gateway."""
    unknown = "01900000-0000-7000-8000-00000000000"
    ids = [send_callback(api, SIGNER_A.body(callback_body(f"{unknown}{number}"))) for number in range(2)]
    ids.append(send_callback(api, SIGNER_B.body(callback_body(f"{unknown}9")), gateway="gatewayB"))
    ids.insert(0, "early")  # events from the start of the service
    listed = api.get("/v1/waiting-callbacks").json["items"]
    assert [it["event_id"] for it in listed] == ids[::-1]
    newest = listed[1]
    assert newest["reference"] == f"{unknown}1"
    assert (newest["status"], newest["amount"], newest["currency"]) == ("completed", "1.03", "USD")
    assert newest["body"] == SIGNER_A.body(callback_body(f"{unknown}1")).decode()
    assert newest["received_at"] < newest["waits_until"]
    seen, cursor = [], None
    while True:
        params = {"limit": "1", **({"cursor": cursor} if cursor else {})}
        page = api.get("/v1/waiting-callbacks", params=params).json
        seen += [it["event_id"] for it in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
    assert [it["event_id"] for it in api.get("/v1/waiting-callbacks?gateway=gatewayB").json["items"]] == ids[3:]
    alone = api.get(f"/v1/waiting-callbacks/{newest['id']}").json
    assert (alone["id"], alone["event_id"]) == (newest["id"], newest["event_id"])
    for query in ("gateway=unknown", "cursor=abc", "limit=0", "more=1"):
        assert api.get(f"/v1/waiting-callbacks?{query}").status_code == 400
    for wrong in ("callback:1", "%00", "x" * 201):
        assert api.get(f"/v1/waiting-callbacks/{wrong}").status_code == 404


def test_everything_follows_from_the_events(live: Live) -> None:
    """The events contain all that reviews show, and the read rows follow from the events."""
    with live.queries.audit() as audit:
        assert list(verify(audit)) == []
