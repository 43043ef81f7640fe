"""Invalid requests at a real service: each gets a problem document, and none affects the next request.

Unread bytes of a refused request are never read as the next request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import apsw
import pytest

from tests.processes.installation import Installation, installed
from tests.processes.process import Process
from tests.processes.raw_http import RawAnswer, Wire, chunked, chunks, request, wire

KIB = 1024
NUMBERS = count(1)
LOOK = request("GET", "/healthz")
HEAD = "GET /healthz HTTP/1.1\r\nHost: service\r\n"
# A request in the place of a body. The service must never execute it.
SMUGGLED = request(
    "POST", "/v1/deposit", json.dumps({"amount": 1, "gateway": "gatewayA", "customer_id": "smuggled"}).encode()
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Process]]:
    """One service for all tests here; its log must stay free of errors."""
    with installed(tmp_path_factory.mktemp("service")) as installation:
        yield installation, installation.service()


@pytest.fixture
def port(service: tuple[Installation, Process]) -> Iterator[int]:
    """Its port. A client's mistake is no error in the log, and only the deposits of ``good`` are stored."""
    installation, process = service
    yield installation.port
    assert "Traceback" not in process.logs, process.logs
    assert '"level":"ERROR"' not in process.logs, process.logs
    with closing(
        apsw.Connection(str(installation.folder / "payments.db"), flags=apsw.SQLITE_OPEN_READONLY)
    ) as database:
        streams = {row[0] for row in database.execute("SELECT DISTINCT stream_id FROM events")}
    assert all(stream.startswith("good-") for stream in streams), streams


def good() -> tuple[bytes, str]:
    """A deposit, and the customer that it names."""
    customer = f"good-{next(NUMBERS)}"
    return request(
        "POST", "/v1/deposit", json.dumps({"amount": 1, "gateway": "gatewayA", "customer_id": customer}).encode()
    ), customer


def is_problem(told: RawAnswer | None, status: int) -> None:
    """Assert that the answer is a problem document with this status and an id, which repeats no invalid input."""
    assert told is not None, "no answer"
    assert (told.status, told.headers["content-type"]) == (status, "application/problem+json")
    assert told.headers["x-request-id"]
    assert told.json["status"] == status
    assert told.json["type"].startswith("/problems/")
    assert told.body.isascii()
    assert len(told.body) < 500


def serves_on(connection: Wire) -> None:
    """Assert that the connection still works: it accepts this deposit."""
    deposit, customer = good()
    connection.send(deposit)
    told = connection.answer()
    assert told is not None
    assert (told.status, told.json["customer_id"]) == (202, customer)


UNREADABLE = {
    "garbage": (b"\x00\xff\xfe garbage <script>\r\n\r\n", 400),
    "empty lines": (b"\r\n\r\n" + LOOK, 400),
    "another version": (b"GET / HTTP/9.9\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n", 400),
    "a proxy's line": (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n" + LOOK, 400),
    "a method in lower case": (LOOK.replace(b"GET", b"get"), 400),
    "a method of 30 letters": (LOOK.replace(b"GET", b"B" * 30), 400),
    "an address without a slash": (LOOK.replace(b"/healthz", b"healthz"), 400),
    "an address with a space": (LOOK.replace(b"/healthz", b"/health z"), 400),
    "an address with a control character": (LOOK.replace(b"/healthz", b"/health\x01z"), 400),
    "an address with bytes above ASCII": (LOOK.replace(b"/healthz", b"/\xff\xfe?x=\xff"), 400),
    "an address of 5,000 letters": (LOOK.replace(b"/healthz", b"/" + b"x" * 5000), 414),
    "a header without a colon": (HEAD.encode() + b"x\r\n\r\n", 400),
    "a header with a space before its colon": (HEAD.encode() + b"X : 1\r\n\r\n", 400),
    "a header with a strange name": (HEAD.encode() + b"X<b>: 1\r\n\r\n", 400),
    "a header with U+0000": (HEAD.encode() + b"X: \x00\r\n\r\n", 400),
    "a header over two lines": (HEAD.encode() + b"X: 1\r\n 2\r\n\r\n", 400),
    "a header of 10,000 bytes": (HEAD.encode() + b"X: " + b"x" * 10_000 + b"\r\n\r\n", 431),
    "1,000 headers": (HEAD.encode() + b"".join(b"X%d: 1\r\n" % n for n in range(1000)) + b"\r\n", 431),
    "bare line feeds": (LOOK.replace(b"\r\n", b"\n"), 400),
    "two hosts": (HEAD.encode() + b"Host: other\r\n\r\n", 400),
    "an expectation": (request("POST", "/v1/deposit", b"{}", "Expect: 200-ok"), 417),
    "a length that is no number": (request("POST", "/v1/deposit", b"", "Content-Length: x") + SMUGGLED, 400),
    "a negative length": (request("POST", "/v1/deposit", b"", "Content-Length: -1") + SMUGGLED, 400),
    "a length with a sign": (request("POST", "/v1/deposit", b"", "Content-Length: +5") + SMUGGLED, 400),
    "two lengths": (request("POST", "/v1/deposit", b"{}", "Content-Length: 400") + SMUGGLED, 400),
    "two lengths in one": (request("POST", "/v1/deposit", b"", "Content-Length: 0, 0") + SMUGGLED, 400),
    "a length and chunks": (chunked("POST", "/v1/deposit", chunks(b"{}"), "Content-Length: 3") + SMUGGLED, 400),
    "chunks in HTTP/1.0": (chunked("POST", "/v1/deposit", chunks(b"{}")).replace(b"/1.1", b"/1.0", 1) + SMUGGLED, 400),
    "chunked twice": (chunked("POST", "/", b"", "Transfer-Encoding: chunked") + SMUGGLED, 400),
    "another transfer coding": (chunked("POST", "/", b"").replace(b"chunked", b"xchunked") + SMUGGLED, 415),
    "compressed chunks": (
        chunked("POST", "/v1/deposit", chunks(b"{}")).replace(b": chunked", b": gzip, chunked") + SMUGGLED,
        415,
    ),
    "identity and chunks": (chunked("POST", "/", chunks(b"{}")).replace(b": chunked", b": identity") + SMUGGLED, 400),
    "a chunk of no size": (chunked("POST", "/v1/deposit", b"zz\r\n{}\r\n0\r\n\r\n") + SMUGGLED, 400),
    "a chunk of negative size": (chunked("POST", "/v1/deposit", b"-2\r\n{}\r\n0\r\n\r\n") + SMUGGLED, 400),
    "a chunk that is longer than it says": (chunked("POST", "/v1/deposit", b"1\r\n{}\r\n0\r\n\r\n") + SMUGGLED, 400),
    "a chunk with an unfit extension": (chunked("POST", "/v1/deposit", b"2;\x00\r\n{}\r\n0\r\n\r\n") + SMUGGLED, 400),
    "chunks ended by line feeds": (chunked("POST", "/v1/deposit", b"2\n{}\n0\n\n\r\n") + SMUGGLED, 400),
}
"""Bytes that are not clearly one HTTP request, and the status. The connection is closed, as its rest is unclear."""


@pytest.mark.parametrize("kind", UNREADABLE)
def test_bytes_that_are_no_request(port: int, kind: str) -> None:
    """Bytes that are no request get one problem document, and the bytes after them are not read as a request."""
    data, status = UNREADABLE[kind]
    with wire(port) as connection:
        connection.send(data)
        is_problem(connection.answer(), status)
        assert connection.ended


def test_incomplete_requests(port: int) -> None:
    """A client that closes within a head gets no answer, and within a body at most a refusal."""
    deposit = SMUGGLED
    for at in (1, 20, deposit.index(b"\r\n\r\n") + 2):
        with wire(port) as connection:
            connection.send(deposit[:at])
            connection.stop_sending()
            assert connection.ended
    for data in (
        deposit[:-1],
        chunked("POST", "/v1/deposit", b"5\r\n{}"),
        chunked("POST", "/v1/deposit", b"2\r\n{}\r\n"),
    ):
        with wire(port) as connection:
            connection.send(data)
            connection.stop_sending()
            is_problem(connection.answer(), 400)
            assert connection.ended


REFUSED = {
    "404": ("POST", "/nowhere", 404),
    "404 of an id": ("POST", "/v1/dead-letters/absent/discard", 404),
    "405": ("PUT", "/healthz", 405),
    "a strange method": ("BREW", "/v1/deposit", 405),
    "401": ("POST", "/v1/callbacks/gatewayA", 401),
    "a query": ("POST", "/v1/deposit?x=1", 400),
    "400": ("POST", "/v1/deposit", 400),
}


@pytest.mark.parametrize("size", [0, 20 * KIB])
@pytest.mark.parametrize("kind", REFUSED)
def test_the_body_of_a_refused_request_is_no_request(port: int, kind: str, size: int) -> None:
    """The body of a refused request is never read as the next request, and the next request is served."""
    method, path, status = REFUSED[kind]
    body = SMUGGLED + b" " * size + SMUGGLED
    in_chunks = chunks(SMUGGLED, b" " * (size or 1), SMUGGLED)
    for data in (request(method, path, body), chunked(method, path, in_chunks)):
        with wire(port) as connection:
            connection.send(data)
            is_problem(connection.answer(), status)
            serves_on(connection)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
@pytest.mark.parametrize("size", [64 * KIB + 1, 300 * KIB, 3 * KIB * KIB])
def test_a_giant_body(port: int, size: int, content_type: str) -> None:
    """A body that is too large is refused with and without a length, and its rest is not read as a request."""
    body = SMUGGLED * (size // len(SMUGGLED) + 1)
    for data in (
        request("POST", "/v1/deposit", body),
        chunked("POST", "/v1/deposit", chunks(body[:size], body[size:] or b" ")),
    ):
        with wire(port) as connection:
            connection.send(data.replace(b"application/json", content_type.encode(), 1))
            is_problem(connection.answer(), 415 if content_type == "text/plain" else 413)
            serves_on(connection)


def test_a_body_that_is_only_announced(port: int) -> None:
    """A request that announces a giant body is refused before the body arrives."""
    for length in (2 * KIB * KIB, 10**12, 10**17):
        with wire(port) as connection:
            connection.send(
                request("POST", "/v1/deposit", b"", "Content-Type: application/json", f"Content-Length: {length}")
            )
            is_problem(connection.answer(), 413)


def test_brackets_and_digits(port: int) -> None:
    """Too many or too deep brackets and too many digits are refused, and the connection continues to work."""
    for body, status in ((b"[" * 100_000, 413), (b"[" * 60_000, 400), (b'{"amount": %s}' % (b"9" * 5000), 400)):
        with wire(port) as connection:
            connection.send(request("POST", "/v1/deposit", body))
            is_problem(connection.answer(), status)
            serves_on(connection)


def test_a_body_where_none_is_read(port: int) -> None:
    """The body of a successful GET is discarded and not read as a request."""
    for data in (request("GET", "/healthz", SMUGGLED * 300), chunked("GET", "/healthz", chunks(SMUGGLED * 300))):
        with wire(port) as connection:
            connection.send(data)
            told = connection.answer()
            assert told is not None
            assert told.status == 200
            serves_on(connection)


def test_many_requests_at_once(port: int) -> None:
    """Pipelined requests, valid and invalid, are answered one by one in their order."""
    with wire(port) as connection:
        customers = []
        for _ in range(5):
            deposit, customer = good()
            customers.append(customer)
            connection.send(
                deposit + request("PUT", "/nowhere", SMUGGLED) + chunked("POST", "/v1/deposit", chunks(b"{", b"}"))
            )
        for customer in customers:
            told = connection.answer()
            assert told is not None
            assert told.json["customer_id"] == customer
            is_problem(connection.answer(), 404)
            is_problem(connection.answer(), 400)
        serves_on(connection)


def test_unusual_requests_that_are_valid(port: int) -> None:
    """Chunks with extensions and trailers, chunks of one byte, an expectation, and HTTP/1.0 are accepted."""
    deposit, _ = good()
    body = deposit.partition(b"\r\n\r\n")[2]
    extended = b'%x;a=b;c="d"\r\n%s\r\n0;x\r\nX-Trailer: y\r\n\r\n' % (len(body), body)
    for data in (extended, chunks(*(body[at : at + 1] for at in range(len(body))))):
        with wire(port) as connection:
            connection.send(chunked("POST", "/v1/deposit", data))
            told = connection.answer()
            assert told is not None
            assert told.status == 202
            serves_on(connection)
    with wire(port) as connection:
        connection.send(deposit.replace(b"Host: service", b"Host: service\r\nExpect: 100-continue"))
        assert [told.status for told in (connection.answer(), connection.answer()) if told] == [100, 202]
        serves_on(connection)
    with wire(port) as connection:
        connection.send(deposit.replace(b"/1.1", b"/1.0", 1))
        told = connection.answer()
        assert told is not None
        assert told.status == 202
        assert connection.ended


def test_no_header_changes_the_address(port: int) -> None:
    """Headers do not change the address of a request, which is that of its first line."""
    for name in ("SCRIPT_NAME", "PATH_INFO", "Script-Name", "X-Original-URL", "X-HTTP-Method-Override"):
        with wire(port) as connection:
            connection.send(request("GET", "/healthz", b"", f"{name}: /v1/gateways"))
            told = connection.answer()
            assert told is not None
            assert (told.status, told.json) == (200, {"status": "ok"})
