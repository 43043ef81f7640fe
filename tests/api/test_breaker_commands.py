"""The operator command that sets a circuit breaker's mode."""

from __future__ import annotations

import json

import pytest

from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError
from store.port import GatewayMode
from tests.api.support import Api
from tests.api.world import World

PATH = "/v1/gateways/gatewayA/breaker"
ORDER = {"mode": "open", "reason": "maintenance"}

WRONG: dict[str, list[object]] = {
    "mode": [..., None, 1, True, [], {}, "", "Open", "half_open", "open ", ["open"], "\ud800"],
    "reason": [
        " ",
        "\u2003\u00a0",
        *(..., None, 1, True, [], {}, "", "x" * 501),
        *(f"a{c}b" for c in "\u0000\n\r\t\u001f\u007f\u0085\u009f\ud800\udfff"),
    ],
    **{name: ["x"] for name in ("Mode", "gateway", "name", "", "__proto__")},
}
"""Values that are each wrong on their own. An ellipsis means that the field is missing."""


@pytest.mark.parametrize("mode", ["open", "closed", "auto"])
def test_a_command_reaches_the_actors(api: Api, world: World, mode: str) -> None:
    """The mode reaches the breaker with its reason, and the answer is the gateway with the new mode."""
    result = api.order(PATH, {"mode": mode, "reason": "maintenance"})
    assert result.status_code == 200
    assert world.modes == [GatewayMode("gatewayA", mode, "maintenance")]
    assert (result.json["name"], result.json["breaker"]["mode"]) == ("gatewayA", mode)
    assert set(result.json) == set(api.get("/v1/gateways/gatewayA").json)


@pytest.mark.parametrize("reason", ["x", " x ", "x" * 500, "für später ⏰", "\U0001f600" * 500])
def test_a_reason_is_any_line_of_text(api: Api, world: World, reason: str) -> None:
    """A reason is kept as it was written, up to 500 characters."""
    assert api.order(PATH, {**ORDER, "reason": reason}).status_code == 200
    assert world.modes[0].reason == reason


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_field_of_a_command_is_named(api: Api, world: World, name: str, value: object) -> None:
    """A wrong, missing or unknown field is a 400 that names it, and the breaker is not changed."""
    order = {field: given for field, given in {**ORDER, name: value}.items() if given is not ...}
    result = api.order(PATH, order)
    assert (result.status_code, result.json["type"]) == (400, "/problems/invalid-request")
    assert list(result.json["errors"]) == [name]
    assert world.modes == []


def test_all_wrong_fields_are_named_at_once(api: Api) -> None:
    """One answer names every wrong field."""
    assert set(api.order(PATH, {"mode": "x", "other": 1}).json["errors"]) == {"mode", "reason", "other"}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("", "application/json", 400),
        ("null", "application/json", 400),
        ("[]", "application/json", 400),
        ("{", "application/json", 400),
        ('{"mode": "open", "mode": "auto", "reason": "x"}', "application/json", 400),
        (json.dumps(ORDER), "text/plain", 415),
        (json.dumps(ORDER).ljust(64 * 1024 + 1), "application/json", 413),
    ],
)
def test_an_unreadable_body(api: Api, world: World, body: str, content_type: str, status: int) -> None:
    """An unreadable body is refused."""
    assert api.request("POST", PATH, body=body, headers={"Content-Type": content_type}).status_code == status
    assert world.modes == []


def test_a_command_accepts_no_query(api: Api, world: World) -> None:
    """A field in the query is refused."""
    result = api.request("POST", PATH, json=ORDER, query_string="mode=open")
    assert list(result.json["errors"]) == ["mode"]
    assert world.modes == []


@pytest.mark.parametrize("name", ["gatewayC", "gatewaya", "%00", "a%20b", "x" * 500])
@pytest.mark.parametrize("order", [ORDER, {}])
def test_a_command_for_an_unknown_gateway(api: Api, world: World, name: str, order: object) -> None:
    """A gateway that is not configured gets 404, also with a wrong body."""
    assert api.order(f"/v1/gateways/{name}/breaker", order).status_code == 404
    assert world.modes == []


@pytest.mark.parametrize("error", [StoreUnavailableError("the disk"), CorruptStoreError("the row")])
def test_a_command_that_changed_nothing_is_a_503(api: Api, world: World, error: Exception) -> None:
    """When the store certainly kept nothing, the answer is 503 with Retry-After."""
    world.trouble = error
    result = api.order(PATH, ORDER)
    assert (result.status_code, result.json["type"]) == (503, "/problems/unavailable")
    assert result.headers["Retry-After"] == "1"
    assert "disk" not in result.text


@pytest.mark.parametrize("error", [TimeoutError(), CommitUncertainError("cut")])
def test_a_command_with_an_unknown_result_is_a_504(api: Api, world: World, error: Exception) -> None:
    """When the result is not known, the answer is 504 and names the path to check."""
    world.trouble = error
    result = api.order(PATH, ORDER)
    assert (result.status_code, result.json["type"]) == (504, "/problems/outcome-unknown")
    assert "/v1/gateways/gatewayA" in result.json["detail"]
    assert "Retry-After" not in result.headers
