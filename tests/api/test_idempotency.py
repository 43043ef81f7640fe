"""Idempotency-Key: every case of its rules, as clients see them."""

from __future__ import annotations

import threading
from hashlib import sha256

import orjson
import pytest

from actors.customer.command_operation import CommandOperation
from actors.replies import NotStored, Reply
from store.port import StreamKey
from tests.api.support import BODY, Api
from tests.api.world import World

PATHS = ["/v1/deposit", "/v1/withdrawal"]
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


@pytest.fixture(autouse=True)
def sufficient_balance(world: World) -> None:
    """The usual customer can pay for the usual withdrawal, twice."""
    world.give("12345", 25_000)


@pytest.mark.parametrize("path", PATHS)
def test_the_same_command_again_is_replayed(api: Api, world: World, path: str) -> None:
    """There is one transaction.

    The answer repeats the first status and Location, and shows the transaction's current state.
    """
    first = api.command(path, key="k-1")
    world.complete("12345", first.json["transaction_id"])
    again = api.command(path, key="k-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (first.json["status"], again.json["status"]) == ("pending", "completed")
    assert api.get(f"/v1/customers/{BODY['customer_id']}").json["version"] == again.json["version"]


@pytest.mark.parametrize(
    "again",
    [
        {"amount": "100.00"},
        {"amount": 100},
        {"amount": 1e2},
        {"currency": "USD"},
        {"details": {}},
        {"details": {"a": "1", "b": "2"}},
        {"capture": "automatic"},
    ],
)
def test_a_command_is_the_same_by_value(api: Api, again: dict[str, object]) -> None:
    """Other spellings of the amount, explicit defaults and another order of the details are the same command."""
    details = {"b": "2", "a": "1"} if again.get("details") else {}
    first = api.command("/v1/deposit", key="k-1", details=details)
    repeated = api.command("/v1/deposit", key="k-1", **{"details": details, **again})
    assert repeated.json["transaction_id"] == first.json["transaction_id"]


@pytest.mark.parametrize(
    "other",
    [
        {"amount": "100.01"},
        {"currency": "EUR"},
        {"gateway": "gatewayB"},
        {"customer_id": "12346"},
        {"details": {"a": "1"}},
        {"capture": "manual"},
    ],
)
def test_another_command_under_the_same_key_is_refused(api: Api, world: World, other: dict[str, object]) -> None:
    """Another command gets 422, nothing is stored, and the first one does not change."""
    first = api.command("/v1/deposit", key="k-1")
    reused = api.command("/v1/deposit", key="k-1", **other)
    assert (reused.status_code, reused.json["type"]) == (422, "/problems/idempotency-key-reused")
    assert len(api.get("/v1/transactions").json["items"]) == 1 + world.given
    assert api.command("/v1/deposit", key="k-1").json["transaction_id"] == first.json["transaction_id"]


def test_the_fingerprint_of_a_deposit_stays_what_it_was(api: Api, world: World) -> None:
    """The claims that earlier versions stored stay valid: only a manual capture adds to the fingerprint."""
    api.command("/v1/deposit", key="k-1", details={"order": "7"})
    (claim,) = world.claims.values()
    said = b'["12345","gatewayA",10000,"USD",{"order":"7"}]'
    assert orjson.loads(claim.value)["fingerprint"] == sha256(said).hexdigest()
    assert (claim.scope, claim.key) == ("idempotency:deposit:main", "k-1")


def test_a_key_belongs_to_its_operation(api: Api) -> None:
    """A deposit and a withdrawal may use the same key."""
    ids = {api.command(path, key="k-1").json["transaction_id"] for path in PATHS}
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["k", VISIBLE.replace('"', ""), "x" * 255, "a,b", "a'b", "a\\b", 'a"b'])
def test_a_key_is_the_same_bare_and_in_double_quotes(api: Api, key: str) -> None:
    """Keys as RFC 8941 strings and bare keys, which most clients send, are both accepted."""
    ids = {api.command("/v1/deposit", key=given).json["transaction_id"] for given in (key, f'"{key}"')}
    assert len(ids) == 1


@pytest.mark.parametrize("key", ["", '""', '"', '"a', "x" * 256, f'"{"x" * 256}"', "a b", "é", "a\tb", "a\x7f"])
def test_an_invalid_key_is_named(api: Api, world: World, key: str) -> None:
    """An invalid key gets 400 with the header's name, and nothing reaches the actors."""
    calls = len(world.calls)
    wrong = api.command("/v1/deposit", key=key)
    assert (wrong.status_code, wrong.json["type"]) == (400, "/problems/invalid-request")
    assert [*wrong.json["errors"]] == ["Idempotency-Key"]
    assert len(world.calls) == calls


def test_a_refusal_is_replayed_although_it_would_be_accepted_now(api: Api, world: World) -> None:
    """A recorded 422 is replayed unchanged, also when the balance is sufficient now."""
    short = api.withdraw(key="k-1", amount="900.00")
    world.give("12345", 1_000_000)
    again = api.withdraw(key="k-1", amount="900.00")
    for answer in (short, again):
        assert (answer.status_code, answer.json["type"]) == (422, "/problems/insufficient-funds")
        assert (answer.json["available"], answer.json["currency"]) == ("250.00", "USD")
    assert "Idempotent-Replayed" not in short.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert api.withdraw(key="k-2", amount="900.00").status_code == 202


@pytest.mark.parametrize("path", [*PATHS, "/v1/customers/12345/adjustments"])
def test_a_replay_that_cannot_be_read_is_a_504(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The first command was executed, so 503 ("never stored") would be wrong: 504."""
    adjusts = path.endswith("adjustments")
    order = {"amount": 1, "currency": "USD", "reason": "r", "evidence": "e"} if adjusts else BODY
    first = api.order(path, order, key="k-1")
    execute = world.execute

    def then_down(stream: StreamKey, command: CommandOperation) -> Reply:
        reply = execute(stream, command)
        world.down = True
        return reply

    monkeypatch.setattr(world, "execute", then_down)
    again = api.order(path, order, key="k-1")
    assert (again.status_code, again.json["type"]) == (504, "/problems/outcome-unknown")
    assert again.json.get("transaction_id") == first.json.get("transaction_id")
    world.down = False
    monkeypatch.undo()
    assert api.order(path, order, key="k-1").headers["Idempotent-Replayed"] == "true"


def test_a_command_that_is_not_stored_frees_its_key(api: Api, world: World) -> None:
    """After 400 and 503 the key can be used again."""
    assert api.command("/v1/deposit", key="k-1", amount=0).status_code == 400
    world.reply = NotStored("The store is not available.")
    assert api.command("/v1/deposit", key="k-1").status_code == 503
    world.reply = None
    assert api.command("/v1/deposit", key="k-1", amount=5).status_code == 202


def test_a_repetition_while_the_first_is_in_progress_is_a_409(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first request with the key is in progress, another gets 409 with Retry-After at its deadline."""
    inside, on = threading.Event(), threading.Event()
    first: list[int] = []
    original = world.execute

    def too_late(*_: object) -> Reply:
        return NotStored("The deadline passed.")

    def slow(stream: StreamKey, command: CommandOperation) -> Reply:
        monkeypatch.setattr(world, "execute", too_late)
        inside.set()
        assert on.wait(30)
        return original(stream, command)

    monkeypatch.setattr(world, "execute", slow)
    thread = threading.Thread(target=lambda: first.append(api.command("/v1/deposit", key="k-1").status_code))
    thread.start()
    assert inside.wait(30)
    busy = api.command("/v1/deposit", key="k-1")
    alone = api.command("/v1/deposit", key="k-2")
    on.set()
    thread.join()
    assert (busy.status_code, busy.json["type"]) == (409, "/problems/idempotency-key-in-flight")
    assert int(busy.headers["Retry-After"]) >= 1
    assert alone.status_code == 503
    assert first == [202]
    assert api.command("/v1/deposit", key="k-1").status_code == 503, "no request is in progress"
