"""API keys: every operation against every kind of key. Resources of other merchants return 404."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

import falcon.testing
import pytest

from actors.customer.idempotency import IdempotencyKey
from api.callers import KnownKeys
from api.keys import make_key
from api.resources.events import Feed
from domain.outcomes import Authorization
from store.keys import ApiKey, Scope
from store.port import GATEWAYS, StreamKey, WorkItem
from tests.api.support import BODY, Api
from tests.api.world import World

WHY: Final = {"reason": "Because."}
PROOF: Final = {**WHY, "evidence": "ticket 4711"}
WRITE, READ, OPERATIONS = Scope


class Case(NamedTuple):
    """An operation as its authorized client uses it, with the expected answer."""

    method: str
    path: str
    body: object
    status: int
    scope: Scope
    is_owned: bool = True
    """Whether the operation concerns a resource of one merchant."""


NOTHING: Final = object()
CASES: Final = {
    "createDeposit": Case("POST", "/v1/deposit", BODY, 202, WRITE, is_owned=False),
    "createWithdrawal": Case("POST", "/v1/withdrawal", {**BODY, "amount": 1}, 202, WRITE, is_owned=False),
    "getTransaction": Case("GET", "/v1/transactions/{done}", NOTHING, 200, READ),
    "listTransactions": Case("GET", "/v1/transactions", NOTHING, 200, READ, is_owned=False),
    "createRefund": Case("POST", "/v1/transactions/{done}/refunds", {"amount": 1}, 202, WRITE),
    "createCapture": Case("POST", "/v1/transactions/{held}/captures", {}, 202, WRITE),
    "createVoid": Case("POST", "/v1/transactions/{held}/voids", NOTHING, 202, WRITE),
    "listChildren": Case("GET", "/v1/transactions/{done}/children", NOTHING, 200, READ),
    "resolveTransaction": Case(
        "POST",
        "/v1/transactions/{open}/resolution",
        {**PROOF, "outcome": "completed", "version": 2},
        200,
        OPERATIONS,
    ),
    "getCustomer": Case("GET", "/v1/customers/12345", NOTHING, 200, READ),
    "listCustomerEvents": Case("GET", "/v1/customers/12345/events", NOTHING, 200, READ),
    "adjustBalance": Case(
        "POST", "/v1/customers/12345/adjustments", {**PROOF, "amount": 1, "currency": "USD"}, 201, OPERATIONS
    ),
    "listEvents": Case("GET", "/v1/events", NOTHING, 200, READ, is_owned=False),
    "listReviews": Case("GET", "/v1/reviews", NOTHING, 200, OPERATIONS, is_owned=False),
    "getReview": Case("GET", "/v1/reviews/r1", NOTHING, 200, OPERATIONS),
    "closeReview": Case("POST", "/v1/reviews/r1/close", WHY, 200, OPERATIONS),
    "listWaitingCallbacks": Case("GET", "/v1/waiting-callbacks", NOTHING, 200, OPERATIONS, is_owned=False),
    "getWaitingCallback": Case("GET", "/v1/waiting-callbacks/{open}", NOTHING, 404, OPERATIONS),
    "listGateways": Case("GET", "/v1/gateways", NOTHING, 200, OPERATIONS, is_owned=False),
    "getGateway": Case("GET", "/v1/gateways/gatewayA", NOTHING, 200, OPERATIONS, is_owned=False),
    "setBreakerMode": Case(
        "POST", "/v1/gateways/gatewayA/breaker", {**WHY, "mode": "auto"}, 200, OPERATIONS, is_owned=False
    ),
    "getMetrics": Case("GET", "/metrics", NOTHING, 200, OPERATIONS, is_owned=False),
    "listDeadLetters": Case("GET", "/v1/dead-letters", NOTHING, 200, OPERATIONS, is_owned=False),
    "retryDeadLetters": Case("POST", "/v1/dead-letters/retry", {}, 202, OPERATIONS, is_owned=False),
    "getDeadLetter": Case("GET", "/v1/dead-letters/{open}", NOTHING, 200, OPERATIONS),
    "retryDeadLetter": Case("POST", "/v1/dead-letters/{open}/retry", NOTHING, 202, OPERATIONS),
    "discardDeadLetter": Case("POST", "/v1/dead-letters/{open}/discard", WHY, 200, OPERATIONS),
}
OPEN: Final = {
    "receiveCallback",
    "getHealth",
    "getReadiness",
    "getOpenApi",
    "getSwaggerPage",
    "getEventSchema",
    "getAsyncApi",
}
"""The operations without keys. A callback is signed by its gateway."""


class Scenario:
    """Merchant acme has a customer 12345 with a completed, a pending and an authorized deposit.

    It also has a dead letter and a review.
    """

    def __init__(self, world: World, api: Api, known: KnownKeys, feed: Feed) -> None:
        self.world, self.api, self._known, self.feed = world, api, known, feed
        self.keys: dict[str, str] = {}
        for name, scopes in (("write", {WRITE}), ("read", {READ}), ("operations", {OPERATIONS}), ("all", set(Scope))):
            self.keys[name] = self.make("acme", scopes)
        self.keys["globex"] = self.make("globex", set(Scope))
        self.api.key = self.keys["all"]
        done, pending = (self.api.deposit().json["transaction_id"] for _ in range(2))
        self.ids = {"done": done, "open": pending}
        world.complete("12345", done, merchant="acme")
        held = self.ids["held"] = self.api.deposit(capture="manual").json["transaction_id"]
        world.settle("12345", held, Authorization("A-2"), merchant="acme")
        world.bury(pending, merchant="acme")
        world.complain("r1", pending, stream=StreamKey("acme", "12345"))

    def make(self, merchant: str, scopes: set[Scope], **changes: Any) -> str:
        """Create a key and return its text."""
        text, presented = make_key(os.urandom)
        key = ApiKey(*presented, merchant, frozenset(scopes), live=True, lasts_s=None)
        self.world.keys[presented.key_id] = replace(key, **changes)
        return text

    def forget(self) -> None:
        """Clear the application's cache of keys, which otherwise expires within a second."""
        self._known._known.clear()

    def ask(self, case: Case, key: str | None, **ids: str) -> falcon.testing.Result:
        """Execute a case with a key."""
        self.api.key = key
        path = case.path.format(**{**self.ids, **ids})
        if case.method == "GET":
            return self.api.get(path)
        return self.api.order(path, ... if case.body is NOTHING else case.body)


@pytest.fixture(scope="module")
def guarded() -> tuple[World, Api]:
    """An application that requires keys.

    One serves all tests, because building its document takes longer than most tests.
    """
    world = World()
    return world, Api(world, needs_keys=True)


@pytest.fixture(scope="module")
def internals(guarded: tuple[World, Api]) -> tuple[KnownKeys, Feed]:
    """The application's cache of keys and its feed of events."""
    world, objects = guarded[0], gc.get_objects()
    known = next(it for it in objects if isinstance(it, KnownKeys) and it._queries is world)
    return known, next(it for it in objects if isinstance(it, Feed) and it._queries is world)


@pytest.fixture
def scenario(guarded: tuple[World, Api], internals: tuple[KnownKeys, Feed]) -> Scenario:
    """See Scenario."""
    world, api = guarded
    world.reset()
    api.reset()
    return Scenario(world, api, *internals)


@pytest.fixture
def unchanged(scenario: Scenario) -> Iterator[None]:
    """Check that the test changes nothing."""
    world = scenario.world
    lists = (world.calls, world.children, world.orders, world.modes, world.retried, world.discards)
    before = [len(commands) for commands in lists]
    yield
    assert before == [len(commands) for commands in lists]


def test_every_operation_is_tested(scenario: Scenario) -> None:
    """Every operation of the document is in the matrix or is open. The document states which ones need a key."""
    document = scenario.api.document
    operations = {it["operationId"]: it for item in document["paths"].values() for it in item.values() if "tags" in it}
    assert set(operations) == set(CASES) | OPEN
    assert {name for name, it in operations.items() if it.get("security") == [{"apiKey": []}]} == set(CASES)
    for name, case in CASES.items():
        assert operations[name]["description"].endswith(f"Needs an API key with the scope `{case.scope}`.")


@pytest.mark.parametrize("name", CASES)
def test_a_key_needs_the_scope(scenario: Scenario, name: str) -> None:
    """A key with a scope of the operation is accepted. A key with all other scopes is refused."""
    case = CASES[name]
    others = scenario.make("acme", set(Scope) - {case.scope})
    only = {scope: scenario.make("acme", {scope}) for scope in Scope}
    for key in (others, *(key for scope, key in only.items() if scope is not case.scope)):
        refused = scenario.ask(case, key)
        assert (refused.status_code, refused.json["type"]) == (403, "/problems/insufficient-scope")
        challenge = f'Bearer realm="payments", error="insufficient_scope", scope="{case.scope}"'
        assert refused.headers["WWW-Authenticate"] == challenge
    assert scenario.ask(case, only[case.scope]).status_code == case.status


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", CASES)
def test_a_request_without_a_live_key_gets_401(scenario: Scenario, name: str) -> None:
    """No key, or a malformed, unknown, forged, expired or revoked key: 401 for every operation."""
    case = CASES[name]
    good = scenario.keys["all"]
    _, key_id, _ = good.split("_", 2)
    unknown, _ = make_key(os.urandom)
    dead = scenario.make("acme", set(Scope), live=False)
    mixed = f"pgw_{key_id}_{unknown.split('_', 2)[2]}"
    missing = scenario.ask(case, None)
    assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, 'Bearer realm="payments"')
    answers = [scenario.ask(case, key) for key in (unknown, mixed, dead, "x", good[:-1], good + "A", good.upper())]
    assert len({(it.status_code, it.text, it.headers["WWW-Authenticate"]) for it in answers}) == 1
    assert answers[0].json["type"] == "/problems/unauthenticated"
    assert answers[0].json["detail"] == "The API key is unknown, expired or revoked."
    assert answers[0].headers["WWW-Authenticate"] == 'Bearer realm="payments", error="invalid_token"'


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.is_owned])
def test_resources_of_other_merchants_return_404(scenario: Scenario, name: str, unchanged: None) -> None:
    """A resource of another merchant gets the same answer, word for word, as one that does not exist."""
    case = CASES[name]
    theirs = scenario.ask(case, scenario.keys["globex"])
    of_others = case._replace(path=case.path.replace("12345", "54321").replace("/r1/", "/r2/"))
    none = "019ab000-0000-7000-8000-ffffffffffff"
    missing = scenario.ask(of_others, scenario.keys["globex"], done=none, open=none, held=none)
    assert theirs.status_code == missing.status_code == 404
    assert theirs.text == missing.text
    assert scenario.world.children == []
    changing = ("x-request-id",)
    assert {k: v for k, v in theirs.headers.items() if k not in changing} == {
        k: v for k, v in missing.headers.items() if k not in changing
    }


def test_lists_contain_own_resources_only(scenario: Scenario) -> None:
    """Lists and feed of another merchant are empty, and a bulk command changes nothing."""
    globex = scenario.keys["globex"]
    for name in ("listTransactions", "listEvents", "listReviews", "listDeadLetters"):
        assert scenario.ask(CASES[name], globex).json["items"] == []
        assert scenario.ask(CASES[name], scenario.keys["all"]).json["items"] != []
    assert scenario.ask(CASES["retryDeadLetters"], globex).json == {"count": 0}
    assert scenario.ask(CASES["retryDeadLetters"], scenario.keys["all"]).json == {"count": 1}


def test_two_merchants_may_use_the_same_customer_id(scenario: Scenario) -> None:
    """Customer ids and idempotency keys belong to a merchant. The same values of another merchant are independent."""
    scenario.api.key = scenario.keys["all"]
    first = scenario.api.command("/v1/deposit", key="k", amount=7)
    scenario.api.key = scenario.keys["globex"]
    assert (
        scenario.ask(CASES["createWithdrawal"], scenario.keys["globex"]).json["type"] == "/problems/insufficient-funds"
    )
    second = scenario.api.command("/v1/deposit", key="k", amount=8)
    assert (first.status_code, second.status_code) == (202, 202)
    assert "Idempotent-Replayed" not in second.headers
    assert scenario.ask(CASES["getCustomer"], scenario.keys["globex"]).json["version"] == 1
    assert {it["stream_name"] for it in scenario.ask(CASES["listEvents"], scenario.keys["globex"]).json["items"]} == {
        "globex"
    }


def test_the_key_is_on_record(scenario: Scenario) -> None:
    """The events of a command contain the public id of its key, and no other part of the key."""
    who = {name: f"api-key:{text.split('_')[1]}" for name, text in scenario.keys.items()}
    operator = scenario.keys["operations"]
    for name in ("adjustBalance", "closeReview", "discardDeadLetter", "resolveTransaction"):
        scenario.ask(CASES[name], operator)
    world = scenario.world
    told = [metadata.who for _, _, metadata in world.discards] + [metadata.who for *_, metadata in world.orders]
    assert told == [who["operations"]] * 4
    assert {metadata.who for _, _, metadata in world.calls} == {who["all"]}
    items = scenario.ask(CASES["listEvents"], scenario.keys["read"]).json["items"]
    by_type = {it["type"]: it["metadata"].get("who") for it in items}
    assert by_type["DepositReceived"] == who["all"]
    assert by_type["BalanceAdjusted"] == who["operations"]


def test_work_and_keys_of_commands_belong_to_the_merchant(scenario: Scenario) -> None:
    """A resolution uses the merchant's work. The same idempotency key of another merchant is independent."""
    scenario.ask(CASES["resolveTransaction"], scenario.keys["all"])
    ((_, _, work, _),) = scenario.world.orders
    assert isinstance(work, WorkItem)
    scenario.api.key = scenario.keys["globex"]
    scenario.api.deposit()
    scopes = []
    for key in (scenario.keys["all"], scenario.keys["globex"]):
        scenario.api.key = key
        path = "/v1/customers/12345/adjustments"
        assert scenario.api.order(path, CASES["adjustBalance"].body, key="k").status_code == 201
        (*_, once, _) = scenario.world.orders[-1]
        assert isinstance(once, IdempotencyKey)
        scopes.append(once.scope)
    assert scopes == ["idempotency:adjustment:acme", "idempotency:adjustment:globex"]


def test_gateways_belong_to_the_default_merchant(scenario: Scenario) -> None:
    """Resources that belong to a gateway alone are visible to the merchant main only, and only it can close them."""
    scenario.world.complain("gatewayA.1", None, stream=StreamKey(GATEWAYS, "gatewayA"))
    house = scenario.make("main", {OPERATIONS})
    close = CASES["closeReview"]._replace(path="/v1/reviews/gatewayA.1/close")
    assert scenario.ask(close, scenario.keys["all"]).status_code == 404
    assert [it["id"] for it in scenario.ask(CASES["listReviews"], scenario.keys["all"]).json["items"]] == ["r1"]
    assert [it["id"] for it in scenario.ask(CASES["listReviews"], house).json["items"]] == ["gatewayA.1"]
    assert scenario.ask(close, house).status_code == 200
    scenario.world.keep("callback:1", b"{")
    one = CASES["getWaitingCallback"]._replace(path="/v1/waiting-callbacks/callback:1")
    assert scenario.ask(one, scenario.keys["all"]).status_code == 404
    assert scenario.ask(CASES["listWaitingCallbacks"], scenario.keys["all"]).json["items"] == []
    assert [it["id"] for it in scenario.ask(CASES["listWaitingCallbacks"], house).json["items"]] == ["callback:1"]
    assert scenario.ask(one, house).json["event_id"] is None


class Late:
    """A request's body that arrives only after its key has been revoked."""

    def __init__(self, scenario: Scenario, key: str, body: bytes) -> None:
        self._scene, self._key, self._body = scenario, key.split("_")[1], body

    def read(self, size: int) -> bytes:
        """Return the available bytes."""
        keys = self._scene.world.keys
        keys[self._key] = replace(keys[self._key], live=False)
        self._scene.forget()
        data, self._body = self._body[:size], self._body[size:]
        return data


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.method == "POST" and case.body is not NOTHING]
)
def test_a_body_that_arrives_after_its_key_was_revoked(scenario: Scenario, name: str) -> None:
    """A command whose key is revoked between headers and body is refused."""
    case = CASES[name]
    key = scenario.make("acme", set(Scope))
    body = json.dumps(case.body).encode()
    environ = falcon.testing.create_environ(
        method="POST",
        path=case.path.format(**scenario.ids),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    environ.update({"wsgi.input": Late(scenario, key, body), "CONTENT_LENGTH": str(len(body))})
    response = falcon.testing.StartResponseMock()
    list(scenario.api.app(environ, response))
    assert str(response.status).startswith("401")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.method == "GET"])
def test_head_needs_the_same_key_as_get(scenario: Scenario, name: str) -> None:
    """HEAD needs the same scope as GET, belongs to the same merchant and gets the same answers."""
    case = CASES[name]._replace(method="HEAD")
    others, only = scenario.make("acme", set(Scope) - {case.scope}), scenario.make("acme", {case.scope})
    assert [_head(scenario, case, key).status_code for key in (None, others, only)] == [401, 403, case.status]
    if case.is_owned:
        assert _head(scenario, case, scenario.keys["globex"]).status_code == 404


def _head(scenario: Scenario, case: Case, key: str | None) -> falcon.testing.Result:
    scenario.api.key = key
    return scenario.api.request("HEAD", case.path.format(**scenario.ids))


def test_head_does_not_wait(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEAD is for probes: the long poll answers it at once."""

    def wait(_seconds: float) -> None:
        raise AssertionError("HEAD must not wait")

    monkeypatch.setattr(scenario.feed, "_sleep", wait)
    scenario.api.key = scenario.keys["acme"] if "acme" in scenario.keys else scenario.make("acme", {READ})
    end = scenario.api.get("/v1/events", params={"after": "latest"}).json["next_cursor"]
    assert scenario.api.get("/v1/events", params={"after": end}).json["items"] == []
    assert scenario.api.request("HEAD", f"/v1/events?after={end}&wait=30").status_code == 200


def test_a_wait_for_events_needs_a_live_key_to_the_end(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is revoked while its request waits receives no event."""
    key = scenario.make("globex", {READ})

    def revoke(_seconds: float) -> None:
        scenario.world.keys[key.split("_")[1]] = replace(scenario.world.keys[key.split("_")[1]], live=False)
        scenario.world.give("1", 100, merchant="globex")
        scenario.forget()

    monkeypatch.setattr(scenario.feed, "_sleep", revoke)
    scenario.api.key = key
    assert scenario.api.get("/v1/events?wait=5").status_code == 401


@pytest.mark.parametrize("name", ["setBreakerMode", "retryDeadLetters", "retryDeadLetter"])
def test_commands_without_events_are_logged_with_the_key(
    scenario: Scenario, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A command without events is logged with the id of its key."""
    with caplog.at_level("INFO", "api.tracing"):
        scenario.ask(CASES[name], scenario.keys["operations"])
    (line,) = [record for record in caplog.records if record.name == "api.tracing"]
    assert line.__dict__["fields"]["who"] == f"api-key:{scenario.keys['operations'].split('_')[1]}"


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   ", "Bearer {}  "])
def test_the_scheme_is_case_insensitive(scenario: Scenario, scheme: str) -> None:
    """The scheme is case-insensitive (RFC 9110), and blanks around the key are ignored."""
    given = scheme.format(scenario.keys["all"]) if "{}" in scheme else scheme + scenario.keys["all"]
    scenario.api.key = None
    assert scenario.api.get("/v1/transactions", headers={"Authorization": given}).status_code == 200


@pytest.mark.parametrize(
    "given", ["", " ", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {} {}", "Bearer\t{}", "Token {}"]
)
def test_another_scheme_is_refused(scenario: Scenario, given: str) -> None:
    """A key is accepted only after Bearer."""
    scenario.api.key = None
    text = given.format(*[scenario.keys["all"]] * 2)
    assert scenario.api.get("/v1/transactions", headers={"Authorization": text}).status_code == 401


@pytest.mark.usefixtures("unchanged")
def test_the_key_is_checked_before_the_body(scenario: Scenario) -> None:
    """The answer to a request without a key names no other errors."""
    scenario.api.key = None
    for body, content_type in (("{", "application/json"), ("x", "text/plain"), ("", "application/json")):
        assert scenario.api.post(body, content_type).status_code == 401
    assert scenario.api.get("/v1/transactions?limit=x").status_code == 401
    assert scenario.api.get("/v1/transactions/nonsense").status_code == 401


def test_operations_without_keys(scenario: Scenario) -> None:
    """Health, documentation and unknown paths need no key. A callback needs its signature."""
    scenario.api.key = None
    for path in (
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/asyncapi.json",
        "/schemas/VoidFailed.v1.json",
        "/swagger/index.html",
    ):
        assert scenario.api.get(path).status_code == 200
    assert scenario.api.get("/nowhere").status_code == 404
    assert scenario.api.request("DELETE", "/v1/deposit").status_code == 405
    assert scenario.api.post("{}", path="/v1/callbacks/gatewayA").status_code == 200


def test_without_a_store_keys_get_503(scenario: Scenario) -> None:
    """When keys cannot be looked up the answer is 503. A recently used key still works."""
    assert scenario.ask(CASES["listGateways"], scenario.keys["operations"]).status_code == 200
    scenario.world.down = True
    assert scenario.ask(CASES["listGateways"], scenario.keys["operations"]).status_code == 200
    fresh = scenario.make("acme", {OPERATIONS})
    refused = scenario.ask(CASES["listGateways"], fresh)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")


def test_without_keys_no_request_is_checked(api: Api) -> None:
    """On loopback every request belongs to the default merchant, whatever its header, and sees all events."""
    assert api.get("/v1/gateways", headers={"Authorization": "Bearer x"}).status_code == 200
    assert "securitySchemes" not in api.document["components"]
    api.deposit()
    assert api.get("/v1/events").json["items"][0]["stream_name"] == "main"


# The cached lookups of keys in a process.
