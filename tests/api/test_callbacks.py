"""POST /v1/callbacks/{gateway}: the raw bytes reach the actors, and their reply becomes the answer."""

from __future__ import annotations

import falcon.testing
import pytest

from actors.replies import NotStored, SignatureInvalid, Uncertain
from api.body import BODY_BYTES_MAX
from api.headers import REPEATED
from gateways.port import Acceptance
from tests.api.support import Api
from tests.api.world import World

PATH = "/v1/callbacks/gatewayA"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RAW = b'\xff\x00{"a": 1, "a": 2} \r\n'


def test_the_bytes_are_passed_on_as_they_came(api: Api, world: World) -> None:
    """The API neither parses nor checks a callback.

    It accepts any content type, bytes and headers, with names in lower case.
    """
    headers = {"Webhook-Id": "msg_1", "X-Gateway-Signature": "sha256=00", "Content-Type": "text/odd"}
    taken = api.request("POST", PATH, body=RAW, headers=headers)
    assert (taken.status_code, taken.json) == (200, {"status": "ok"})
    ((gateway, given, body, metadata),) = world.callbacks
    assert (gateway, body) == ("gatewayA", RAW)
    assert {"webhook-id": "msg_1", "x-gateway-signature": "sha256=00"}.items() <= given.items()
    assert metadata.correlation_id == taken.headers["X-Request-ID"]


def test_the_answer_is_the_one_that_the_provider_expects(api: Api, world: World) -> None:
    """Status, media type and body of the answer to a stored callback are the gateway's."""
    world.acceptance = Acceptance(202, "text/plain", b"[accepted]")
    taken = falcon.testing.TestClient(api.app).simulate_post(PATH, body=RAW)
    assert (taken.status_code, taken.headers["Content-Type"], taken.content) == (202, "text/plain", b"[accepted]")


def test_an_unverified_callback_is_a_401(api: Api, world: World) -> None:
    """The answer does not state the reason."""
    world.callback_reply = SignatureInvalid()
    refused = api.request("POST", PATH, body=RAW)
    assert (refused.status_code, refused.json["type"]) == (401, "/problems/callback-unverified")
    assert refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize("name", ["gatewayC", "gateway%41", "x" * 100, "%00", "gatewayA%2F"])
def test_a_callback_for_an_unknown_gateway(api: Api, world: World, name: str) -> None:
    """A callback for an unknown gateway gets 404, without a call to the actors."""
    expected = 200 if name in {"gateway%41", "gatewayA%2F"} else 404
    assert api.request("POST", f"/v1/callbacks/{name}", body=RAW).status_code == expected
    assert len(world.callbacks) == (expected == 200)


def test_a_callback_that_is_not_stored_is_a_503(api: Api, world: World) -> None:
    """A callback that is certainly not stored gets 503 with Retry-After."""
    world.callback_reply = NotStored("away")
    later = api.request("POST", PATH, body=RAW)
    assert (later.status_code, later.json["type"]) == (503, "/problems/unavailable")
    assert later.headers["Retry-After"]


@pytest.mark.parametrize("reply", [Uncertain(None), Uncertain("t"), RuntimeError("secret")])
def test_an_unknown_result_is_a_504(api: Api, world: World, reply: object) -> None:
    """When it is not known whether a callback is stored, the answer is 504. The event id identifies a repetition."""
    world.callback_reply = reply  # type: ignore[assignment]
    later = api.request("POST", PATH, body=RAW)
    assert (later.status_code, later.json["type"]) == (504, "/problems/outcome-unknown")
    assert "secret" not in later.text


@pytest.mark.parametrize("path", [f"{PATH}/", f"{PATH}//", f"/{PATH}", "//v1//callbacks///gatewayA", PATH])
@pytest.mark.parametrize("query", ["", "a=1&a=2", "%ff", "token=4111111111111111", "x" * 5000, "&".join(["a=1"] * 99)])
def test_added_slashes_and_queries_are_ignored(api: Api, world: World, path: str, query: str) -> None:
    """Slashes and queries that providers and proxies add are ignored."""
    assert api.request("POST", path, query_string=query, body=RAW).status_code == 200
    assert [(name, body) for name, _, body, _ in world.callbacks] == [("gatewayA", RAW)]


def test_repeated_headers_are_not_passed_on(api: Api, world: World) -> None:
    """A repeated signature header verifies nothing. A repeated request id or trace is not stored."""
    headers = {"Webhook-Id": "a,b", "Webhook-Signature": "v1,x", "X-Request-ID": "a,b", "traceparent": TRACE}
    extras = {REPEATED: frozenset({"webhook-id", "x-request-id", "traceparent", "authorization"})}
    assert api.request("POST", PATH, body=RAW, headers=headers, extras=extras).status_code == 200
    ((_, given, _, metadata),) = world.callbacks
    assert given.get("webhook-signature") == "v1,x"
    assert "webhook-id" not in given
    assert (metadata.correlation_id, metadata.traceparent) == ("generated-1", None)


def test_size_is_bounded(api: Api, world: World) -> None:
    """A body has at most 64 KiB. An empty body is accepted."""
    assert api.request("POST", PATH, body=b"x" * BODY_BYTES_MAX).status_code == 200
    assert api.request("POST", PATH, body=b"").status_code == 200
    assert api.request("POST", PATH, body=b"x" * (BODY_BYTES_MAX + 1)).status_code == 413
    assert api.request("GET", PATH).status_code == 405
    assert [len(body) for _, _, body, _ in world.callbacks] == [BODY_BYTES_MAX, 0]
