"""The document is valid, complete in both directions, and its examples work. A page shows it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import falcon.inspect
import pytest
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator

from api.problems import PROBLEMS
from tests.api.support import BODY, Api
from tests.api.world import World

# Redirects to the page and the files that it loads. They are not part of the API.
PAGES = {"/", "/swagger", "/swagger/", "/swagger/{asset}"}


def test_the_document_is_valid(api: Api) -> None:
    """The document is OpenAPI 3.0 by its own schema."""
    assert api.document["openapi"].startswith("3.0.")
    assert list(OpenAPIV30SpecValidator(api.document).iter_errors()) == []


def test_routes_and_document_agree(api: Api) -> None:
    """Every served route is described and every described route is served; HEAD goes with GET."""
    served = {
        (route.path, method.method.lower())
        for route in falcon.inspect.inspect_routes(api.app)
        if route.path not in PAGES
        for method in route.methods
        if not method.internal
    }
    described = {
        (path, method) for path, item in api.document["paths"].items() for method in item if method != "parameters"
    }
    heads = {(path, "head") for path, method in described if method == "get"}
    assert served == described | heads


def test_operation_ids_are_unique(api: Api) -> None:
    """Operation ids are unique, and every link leads to one of them."""
    operations = [it for item in api.document["paths"].values() for name, it in item.items() if name != "parameters"]
    ids = [it["operationId"] for it in operations]
    links = [
        link
        for it in operations
        for response in it["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert len(set(ids)) == len(ids)
    assert links
    assert {link["operationId"] for link in links} <= set(ids)


def test_every_operation_is_described(api: Api) -> None:
    """Operations, parameters and responses have descriptions."""
    for path, item in api.document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                assert operation["summary"], path
                assert operation["description"], path
                assert all(response["description"] for response in operation["responses"].values()), path
        for parameter in [
            *item.get("parameters", []),
            *(p for o in item.values() if isinstance(o, dict) for p in o["parameters"]),
        ]:
            assert parameter["description"], (path, parameter)


def test_the_examples_are_accepted(api: Api, world: World) -> None:
    """The examples of the deposit's body are accepted unchanged. The first one is that of the README."""
    body = api.document["paths"]["/v1/deposit"]["post"]["requestBody"]["content"]["application/json"]
    examples = [it["value"] for it in body["examples"].values()]

    assert examples[0] == BODY
    assert [api.post(json.dumps(example)).status_code for example in examples] == [202] * len(examples)
    assert len(world.calls) == len(examples)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/gateways/{name}/breaker", 200),
        ("/v1/dead-letters/retry", 202),
        ("/v1/dead-letters/{dead_letter_id}/discard", 200),
    ],
)
def test_the_examples_of_operator_commands_are_accepted(api: Api, world: World, path: str, status: int) -> None:
    """The examples of operator commands are accepted unchanged."""
    letter_id = api.deposit().json["transaction_id"]
    world.bury(letter_id)
    body = api.document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    address = path.format(name="gatewayA", dead_letter_id=letter_id)
    assert body["examples"]
    assert {api.order(address, it["value"]).status_code for it in body["examples"].values()} == {status}


def test_the_problems_are_those_of_the_table(api: Api) -> None:
    """Each announced problem is in the table with its announced status, and all problems of the table are announced."""
    announced = {
        (name, int(status))
        for item in api.document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
        for status, response in operation["responses"].items()
        for name in response["content"].get("application/problem+json", {}).get("examples", {})
    }
    # A wrong method is not an answer of an operation. Here no request needs a key.
    others = {"method-not-allowed", "unauthenticated", "insufficient-scope"}
    assert announced == {(it.name, it.status) for it in PROBLEMS.values() if it.name not in others}


def test_the_document_states_the_rules_of_a_command(api: Api) -> None:
    """The document states the rules that the schema of a command enforces: required and unknown fields, limits."""
    command = api.document["components"]["schemas"]["Command"]
    assert command["additionalProperties"] is False
    assert sorted(command["required"]) == ["amount", "customer_id", "gateway"]
    validator = OAS30Validator(command)
    assert validator.is_valid(BODY)
    for wrong in (
        {**BODY, "x": 1},
        {**BODY, "amount": 0},
        {**BODY, "amount": "1e2"},
        {**BODY, "customer_id": "a b"},
        {**BODY, "details": {"a": 1}},
        {**BODY, "details": {"a": "x" * 501}},
        {**BODY, "currency": "usd"},
    ):
        assert not validator.is_valid(wrong), wrong


def test_answers_are_checked_against_the_document(api: Api) -> None:
    """The check behind every other test here detects a wrong answer."""
    transaction = api.deposit().json
    schema = {"$ref": "#/components/schemas/Transaction", "components": api.document["components"]}
    validator = OAS30Validator(schema)
    assert validator.is_valid(transaction)
    assert validator.is_valid({**transaction, "failure": {"code": "x", "category": None, "message": ""}})
    changes: list[dict[str, object]] = [
        {"status": "done"},
        {"version": "1"},
        {"failure": 1},
        {"failure": {}},
        {"amount": 100.0},
        {"type": None},
    ]
    for wrong in changes:
        assert not validator.is_valid({**transaction, **wrong}), wrong
    del transaction["attention"]
    assert not validator.is_valid(transaction)


class _Links(HTMLParser):
    """The files that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]
        assert tag != "script" or dict(attrs).get("src"), "the content security policy allows no inline scripts"


def test_the_page_loads_everything_from_this_origin(api: Api) -> None:
    """All files of Swagger UI come from this origin, under a policy that allows no other."""
    page = api.get("/swagger/index.html")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]

    links = _Links()
    links.feed(page.text)
    assert len(links.found) == 7
    for link in links.found:
        assert re.fullmatch(r"[a-z0-9.-]+", link), "relative, so that it works behind any prefix"
        asset = api.get(f"/swagger/{link}")
        assert asset.status_code == 200
        assert len(asset.content) > 100


def test_the_page_shows_this_document(api: Api) -> None:
    """The page's script names the document by an address on the same origin."""
    script = api.get("/swagger/initializer.js").text
    assert 'url: "../openapi.json"' in script
    assert "http" not in script
    assert api.document["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("path", ["/", "/swagger", "/swagger/"])
def test_redirects_to_the_page(api: Api, path: str) -> None:
    """Short paths redirect to the page."""
    result = api.get(path)
    assert (result.status_code, result.headers["Location"]) == (302, "/swagger/index.html")


@pytest.mark.parametrize(
    "asset", ["nope.js", "swagger-ui-bundle.js.map", "..%2F__init__.py", "%2e%2e", "index.j2", "%00"]
)
def test_other_files_of_the_bundle_are_not_served(api: Api, asset: str) -> None:
    """Only what the page needs can be fetched."""
    assert api.get(f"/swagger/{asset}").status_code == 404
