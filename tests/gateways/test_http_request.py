"""The encoder of requests: exact bytes, and nothing that could be read as another request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.http.errors import TransportError
from gateways.http.request import METHODS, OWN_HEADERS, RequestEncoder
from tests.effort import examples

ENCODER = RequestEncoder("pay.example.com:8443", "/v1")


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("POST", b"{}", b"Content-Length: 2\r\n"), ("POST", b"", b"Content-Length: 0\r\n"), ("GET", b"", b"")],
)
def test_the_bytes(method: str, body: bytes, length: bytes) -> None:
    """A request has the path below the prefix, the host, the length of its body, and the headers as given."""
    data = ENCODER.encode(method, "/deposits?a=b", {"A": "b  c", "Idempotency-Key": "k-\xe9"}, body)
    assert data == (
        method.encode() + b" /v1/deposits?a=b HTTP/1.1\r\nHost: pay.example.com:8443\r\nAccept-Encoding: identity\r\n"
        b"%bA: b  c\r\nIdempotency-Key: k-\xe9\r\n\r\n%b" % (length, body)
    )


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "get", "", "GET ", "GET /\r\n", "TRACE"])
def test_other_methods_are_refused(method: str) -> None:
    """Methods whose responses end by other rules are refused, like everything that is no method."""
    with pytest.raises(TransportError, match="method"):
        ENCODER.encode(method, "/", {}, b"")


@pytest.mark.parametrize("name", sorted(OWN_HEADERS) + [name.title() for name in sorted(OWN_HEADERS)])
def test_headers_of_the_transport_are_refused(name: str) -> None:
    """An adapter cannot change how requests and responses are delimited."""
    with pytest.raises(TransportError, match="sets itself"):
        ENCODER.encode("GET", "/", {name: "1"}, b"")


@pytest.mark.parametrize(
    ("host", "prefix"),
    [("", ""), ("a b", ""), ("a\r\nX: y", ""), ("\xe4", ""), ("a", "b"), ("a", "/b c"), ("a", "/\r\n"), ("a", "/\xe4")],
)
def test_an_url_that_cannot_be_sent(host: str, prefix: str) -> None:
    """A host or prefix that could end its line is refused."""
    with pytest.raises(ValueError, match="cannot be sent"):
        RequestEncoder(host, prefix)


_PARTS = st.text(st.sampled_from("aA:-/ \t\r\n\x00\x7f\xe9\u20ac"), max_size=6)


@examples(500)
@given(st.sampled_from(sorted(METHODS)), _PARTS, st.dictionaries(_PARTS, _PARTS, max_size=3), st.binary(max_size=6))
def test_any_request_is_one_request(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
    """Whatever the parts hold, the bytes have one line for each of them, and one body, or there are none."""
    try:
        data = ENCODER.encode(method, f"/{path}", headers, body)
    except TransportError:
        return
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert rest == body
    assert first.split(b" ") == [method.encode(), b"/v1/" + path.encode("ascii"), b"HTTP/1.1"]
    assert lines[-len(headers) :] == [f"{name}: {value}".encode("latin-1") for name, value in headers.items()] or (
        not headers
    )
    assert len(lines) - len(headers) == (3 if body or method in {"POST", "PUT", "PATCH"} else 2)
