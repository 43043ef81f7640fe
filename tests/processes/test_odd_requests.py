"""Valid but unusual HTTP requests at a real service: repeated headers, HEAD, and addresses of callbacks.

These tests need a real server, because WSGI joins repeated headers before the application receives them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.processes.commands import GATEWAYS, SECRETS, callback
from tests.processes.installation import Installation, installed
from tests.processes.process import wait_until
from tests.processes.raw_http import RawAnswer, chunked, chunks, request, wire

NUMBERS = count(1)
CHANGES_NOTHING = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/swagger/index.html", "/swagger/index.css")
READS = (
    *("/v1/transactions", "/v1/events?wait=20&after=latest", "/v1/gateways", "/v1/gateways/gatewayA", "/v1/reviews"),
    *("/v1/dead-letters", "/v1/customers/absent", "/v1/customers/absent/events", "/v1/transactions/absent"),
    *("/", "/swagger", "/nowhere", "/v1/deposit"),
)
NOT_COMPARED = {"x-request-id", "date"}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One service with a simulator for all tests here."""
    with installed(tmp_path_factory.mktemp("service")) as it:
        it.configure_gateways(a=SECRETS["gatewayA"], b=SECRETS["gatewayB"])
        it.simulator()
        it.service()
        yield it


def told(port: int, data: bytes, *, to_head: bool = False) -> RawAnswer:
    """The one answer to ``data``."""
    with wire(port) as connection:
        connection.send(data)
        answer = connection.answer(to_head=to_head)
        assert answer is not None, "no answer"
        return answer


def deposit(customer: str, *headers: str, amount: str = "1.00", gateway: str = "gatewayA") -> bytes:
    """The bytes of a deposit with additional headers."""
    body = json.dumps({"amount": amount, "gateway": gateway, "customer_id": customer}).encode()
    return request("POST", "/v1/deposit", body, *headers)


def refuses(answer: RawAnswer, name: str) -> None:
    """Assert that the answer is a 400 that names the header and does not repeat its values."""
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json["type"] == "/problems/invalid-request"
    assert list(answer.json["errors"]) == [name]
    assert b"order-" not in answer.body
    assert "," not in answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Idempotency-Key", ("order-1", "order-2")),
        ("Idempotency-Key", ("order-1", "order-1")),
        ("Idempotency-Key", ("", "order-1")),
        ("Content-Type", ("application/json",)),
        ("Content-Encoding", ("identity", "identity")),
        ("Authorization", ("Bearer order-1", "Bearer order-2")),
        ("X-Request-ID", ("order-1", "order-2")),
        ("traceparent", ("order-1", "order-2")),
    ],
)
@pytest.mark.parametrize("spelled", [str, str.upper, str.title])
def test_a_header_that_is_repeated(
    installation: Installation, name: str, values: tuple[str, ...], spelled: type[str]
) -> None:
    """A repeated header that the service reads, in any case, is refused; nothing is stored, the connection stays."""
    customer = f"repeated-{next(NUMBERS)}"
    lines = [f"{spelled(name)}: {values[0]}", *(f"{name}: {value}" for value in values[1:])]
    with wire(installation.port) as connection:
        connection.send(deposit(customer, *lines))
        answer = connection.answer()
        assert answer is not None
        refuses(answer, name)
        connection.send(deposit(f"good-{customer}"))
        after = connection.answer()
        assert after is not None
        assert after.status == 202
    assert installation.get(f"/v1/customers/{customer}").status == 404


def test_a_repeated_header_of_a_read(installation: Installation) -> None:
    """Reads refuse repeated headers like commands; headers that the service does not read may be repeated."""
    refuses(
        told(installation.port, request("GET", "/v1/gateways", b"", *["X-Request-ID: order-1"] * 2)), "X-Request-ID"
    )
    for name in ("Accept", "X-Forwarded-For", "Via", "Cookie", "Forwarded", "X_Forwarded_For"):
        assert told(installation.port, request("GET", "/healthz", b"", *[f"{name}: x"] * 2)).status == 200


def test_a_key_with_an_underscore(installation: Installation) -> None:
    """WSGI has one name for both spellings, so a key with an underscore is refused, alone and beside another."""
    customer = f"underscore-{next(NUMBERS)}"
    for more in ((), ("Idempotency-Key: order-1",)):
        answer = told(installation.port, deposit(customer, "Idempotency_Key: order-2", *more))
        refuses(answer, "Idempotency-Key")
    assert installation.get(f"/v1/customers/{customer}").status == 404


def test_a_comma_is_part_of_a_key(installation: Installation) -> None:
    """One header with a comma holds one key."""
    keyed = deposit(f"comma-{next(NUMBERS)}", "Idempotency-Key: order-3,order-4")
    first, second = told(installation.port, keyed), told(installation.port, keyed)
    assert (first.status, second.status) == (202, 202)
    assert first.json["transaction_id"] == second.json["transaction_id"]


def test_what_the_server_refuses_is_named(installation: Installation) -> None:
    """When the server refuses repeated headers for host or length, the answer names the header as well."""
    for name, data in {
        "Host": request("GET", "/healthz", b"", "Host: other"),
        "Content-Length": request("POST", "/v1/deposit", b"{}", "Content-Length: 2"),
        "Transfer-Encoding": chunked("POST", "/v1/deposit", chunks(b"{}"), "Transfer-Encoding: chunked"),
    }.items():
        answer = told(installation.port, data)
        assert answer.status == 400
        assert name in answer.json["detail"]


def test_proxies_may_disagree_on_the_scheme(installation: Installation) -> None:
    """The service ignores proxies' headers about the scheme, so contradictions between them are accepted."""
    odd = ("X-Forwarded-Proto: https", "X-Forwarded-Ssl: off", "X-Forwarded-Protocol: http")
    assert told(installation.port, request("GET", "/healthz", b"", *odd)).status == 200


@pytest.mark.parametrize("path", [*CHANGES_NOTHING, *READS])
def test_head_answers_as_get_does(installation: Installation, path: str) -> None:
    """HEAD returns the status and headers of GET, including the length, without a body, and the connection stays."""
    seen = request("GET", path.replace("wait=20", "wait=0"))
    with wire(installation.port) as connection:
        connection.send(request("HEAD", path))
        head = connection.answer(to_head=True)
        connection.send(seen)
        get = connection.answer()
    assert head is not None
    assert get is not None
    assert head.status == get.status
    assert (head.status == 405) == (path == "/v1/deposit")
    shown = {name: value for name, value in head.headers.items() if name not in NOT_COMPARED}
    if path == "/metrics":  # its counters have changed since
        assert int(shown.pop("content-length")) > 1000
        get.headers.pop("content-length")
    assert shown == {name: value for name, value in get.headers.items() if name not in NOT_COMPARED}


def waiting(installation: Installation, gateway: str) -> tuple[dict[str, str], str]:
    """A processed deposit as the API shows it, and its reference at the gateway."""
    answer = told(installation.port, deposit(f"odd-{next(NUMBERS)}", amount="1.11", gateway=gateway))
    path = f"/v1/transactions/{answer.json['transaction_id']}"
    wait_until(lambda: installation.get(path).body["status"] == "processed", "it is processed")
    it = installation.get(path).body
    return it, it["gateway_reference"]


def called(
    path: str, headers: dict[str, str], body: bytes, *, in_chunks: bool = False, media: str | None = ""
) -> bytes:
    """The bytes of a callback. ``media`` replaces the media type; None removes it."""
    given = {name: value for name, value in headers.items() if name.lower() != "content-type" or media == ""}
    if media:
        given["Content-Type"] = media
    lines = [f"POST {path} HTTP/1.1", "Host: service", *(f"{name}: {value}" for name, value in given.items())]
    lines.append("Transfer-Encoding: chunked" if in_chunks else f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (chunks(body[:5], body[5:]) if in_chunks else body)


ADDRESSES = {
    "a slash": "{}/",
    "slashes": "{}//",
    "two slashes before": "/{}",
    "doubled slashes": "//v1//callbacks//{gateway}/",
    "a query": "{}?token=4111111111111111&x=1&x=2&%ff",
    "an empty query": "{}?",
    "a slash and a query": "{}/?attempt=1",
    "an encoded name": "/v1/callbacks/%67ateway{last}",
    "encoded in lower case": "/v1/%63allbacks/{gateway}%2f",
    "the absolute form": "http://service{}",
}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_genuine_callback_is_not_lost_over_its_address(installation: Installation, gateway: str) -> None:
    """With extra slashes or a query, a callback is verified, applied and answered as usual; a forged one gets 401."""
    for kind, address in ADDRESSES.items():
        path = address.format(f"/v1/callbacks/{gateway}", gateway=gateway, last=gateway[-1])
        it, reference = waiting(installation, gateway)
        headers, body = callback(it, reference)
        answer = told(installation.port, called(path, headers, body + b" "))
        assert answer.status == 401, kind
        answer = told(installation.port, called(path, headers, body))
        assert (answer.status, answer.json) == (200, {"status": "ok"}), kind
        assert installation.get(f"/v1/transactions/{it['transaction_id']}").body["status"] == "completed", kind


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_genuine_callback_is_not_lost_over_its_media_type(installation: Installation, gateway: str) -> None:
    """A callback is accepted with any or no media type, in chunks, with an expectation, or other repeated headers."""
    ways: list[dict[str, Any]] = [
        *({"media": media} for media in (None, "text/plain", "application/json;charset=iso-8859-1", "x", "*/*")),
        {"in_chunks": True},
        {"more": "Expect: 100-continue"},
        {"more": "X-Request-ID: a\r\nX-Request-ID: b\r\ntraceparent: a\r\ntraceparent: b"},
        {"more": "Content-Type: text/plain\r\nAuthorization: a\r\nAuthorization: b"},
        {"more": "Idempotency-Key: a\r\nIdempotency-Key: b\r\nIdempotency_Key: c"},
        {"more": "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off"},
    ]
    for way in ways:
        it, reference = waiting(installation, gateway)
        headers, body = callback(it, reference)
        more = str(way.pop("more", "X-Odd: 1"))
        data = called(f"/v1/callbacks/{gateway}", headers, body, **way)
        with wire(installation.port) as connection:
            connection.send(data.replace(b"Host: service", b"Host: service\r\n" + more.encode(), 1))
            answers = [connection.answer()]
            if "Expect" in more:
                answers.append(connection.answer())
        assert answers[-1] is not None
        assert answers[-1].status == 200, (way, more)
        assert installation.get(f"/v1/transactions/{it['transaction_id']}").body["status"] == "completed", (way, more)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_signed_header_that_is_repeated_verifies_nothing(installation: Installation, gateway: str) -> None:
    """A repeated signed header is ambiguous: it gets 401, nothing is stored, and the next genuine one is accepted."""
    it, reference = waiting(installation, gateway)
    headers, body = callback(it, reference)
    path = f"/v1/callbacks/{gateway}"
    for name in headers.keys() - {"Content-Type"}:
        for value in (headers[name], "x", ""):
            data = called(path, headers, body).replace(
                b"Host: service", f"Host: service\r\n{name}: {value}".encode(), 1
            )
            assert told(installation.port, data).status == 401
    assert installation.get(f"/v1/transactions/{it['transaction_id']}").body["status"] == "processed"
    assert told(installation.port, called(path, headers, body)).status == 200
