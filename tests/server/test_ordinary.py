"""The fast reader of ordinary requests gives what gunicorn's parser gives, and accepts nothing that it refuses."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from server.heads import Head
from server.ordinary import Limits, read_head
from server.requests import OrdinaryRequest, Parser, create, gunicorn_create
from tests.effort import examples
from tests.server.connections import Client, configured

CLIENT: Final = ("192.0.2.1", 50000)
SERVER: Final = ("192.0.2.2", 8080)
DEPOSIT: Final = (
    b"POST /v1/deposit HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)
LIMITED: Final = (
    configured(),
    configured(limit_request_line=40),
    configured(limit_request_fields=2),
    configured(limit_request_field_size=30),
    configured(limit_request_line=0, limit_request_fields=1, limit_request_field_size=0),
)


class GunicornsParser(RequestParser):
    """gunicorn's own loop with the heads that the service has always read."""

    mesg_class = Head


class Reading:
    """All that a worker learns of a connection: its requests, and how it ends."""

    def __init__(self, pieces: list[bytes], config: Config, *, fast: bool, reads_bodies: bool) -> None:
        self.requests: list[object] = []
        self.ordinary = 0
        self.end = ""
        client = Client(pieces)
        parser = (Parser if fast else GunicornsParser)(config, client.socket, CLIENT)
        environment = create if fast else gunicorn_create
        try:
            for request in parser:
                self.ordinary += isinstance(request, OrdinaryRequest)
                _, environ = environment(request, client.socket, CLIENT, SERVER, config)
                self.requests.append(_told(request, environ, reads_bodies=reads_bodies))
        except Exception as error:  # noqa: BLE001  # the two have to end with the same error, whichever it is
            self.end = f"{type(error).__name__}: {error}"
        self.sent = client.sent


def _told(request: Any, environ: MutableMapping[str, Any], *, reads_bodies: bool) -> tuple[object, ...]:
    told = {name: value for name, value in environ.items() if name not in {"wsgi.input", "wsgi.early_hints"}}
    told["wsgi.errors"], told["gunicorn.socket"] = type(environ["wsgi.errors"]), type(environ["gunicorn.socket"])
    assert callable(environ["wsgi.early_hints"])
    names = ("method", "uri", "path", "query", "fragment", "version", "proxy_protocol_info")
    values = [getattr(request, name) for name in names]
    body = environ["wsgi.input"].read() if reads_bodies else b""
    return told, values, body, request.should_close(), request.repeated, request.underscored


def same(pieces: list[bytes], config: Config = LIMITED[0], *, reads_bodies: bool = True) -> Reading:
    """Assert that both parsers read the same, and return what the fast one read."""
    ours = Reading(pieces, config, fast=True, reads_bodies=reads_bodies)
    gunicorns = Reading(pieces, config, fast=False, reads_bodies=reads_bodies)
    assert ours.requests == gunicorns.requests
    assert (ours.end, ours.sent) == (gunicorns.end, gunicorns.sent)
    return ours


names = st.sampled_from(
    [
        *("Host", "host", "HOST", "Content-Type", "content-type", "Content-Length", "content-length", "CONTENT-LENGTH"),
        *("Content_Length", "Transfer-Encoding", "Connection", "connection", "Expect", "Upgrade", "Script-Name"),
        *("SCRIPT_NAME", "Authorization", "Idempotency-Key", "Idempotency_Key", "X-Request-ID", "x-request-id"),
        *("X-Forwarded-Proto", "X-Forwarded-For", "HTTP2-Settings", "Proxy", "Cookie", "a", "a-b", "A-B", "a_b", "!"),
        *("", " ", "a b", "a\t", " a", "\xe9", "a\x00", "a\x0b", "a\x7f", "a(b)", '"a"', "a/b", "a,", "Trailer", "TE"),
    ]
)
values = st.sampled_from(
    [
        *("service", "application/json", "0", "1", "2", "02", "+2", "-1", "2 ", "2, 2", "2_0", "\xb2", "9" * 18),
        *("9" * 19, "chunked", "identity", "gzip", "close", "Close", "keep-alive", "KEEP-ALIVE", "upgrade", "close, x"),
        *("100-continue", "h2c", "", " ", "  a  b  ", "a:b", ":", "https", "\x00", "a\x0bb", "a\rb", "a\nb", "\x7f"),
        *("\xe9", "a\tb", "\ta\t", "/v1", "x" * 40, "x" * 9000),
    ]
)
headers = st.tuples(names, st.sampled_from([": ", ":", ":  ", " : ", ":\t", "", ";"]), values)
targets = st.one_of(
    st.sampled_from(
        [
            *("/", "/v1/deposit", "/v1/events?limit=2", "/a?b?c", "/a?", "/?", "/a#b", "/a?b#c", "//a", "//a/b?c"),
            *("*", "", "a", "http://a/b", "http://a", "a:80", "/%41", "/%", "/%4", "/%zz", "/%e9?%e9", "/a;b;c"),
            *("/a:b", "/[a", "/a]b[", "/\x80", "/\xe9", "/a\x00", "/a\tb", "/..", "/./a", "/@a:b", "/\\", '/"'),
            "/" + "x" * 5000,
        ]
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=12).map("/".__add__),
)
methods = st.sampled_from(
    ["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "TRACE", "get", "Get", "G", "", "FOO", "PRI"]
)
versions = st.sampled_from(
    [*["HTTP/1.1"] * 5, "HTTP/1.0", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.1 ", "HTTP/11", ""]
)
line_ends = st.sampled_from([*["\r\n"] * 12, "\n", "\r", "\r\n ", "\r\r\n", "\n\r\n"])
blanks = st.sampled_from([*[" "] * 8, "  ", "\t", ""])


BODIES: Final = ["", "{}", "{", "2\r\n{}\r\n0\r\n\r\n", "\r\n", "GET / HTTP/1.1\r\n\r\n"]


@st.composite
def nearly_ordinary(draw: st.DrawFn) -> bytes:
    """A well-formed request that is ordinary but for, at most, its target or one header."""
    body = draw(st.sampled_from(BODIES))
    target = draw(st.one_of(st.just("/v1/deposit"), targets))
    name, value = draw(names.filter(str.strip)), draw(values)
    lines = [f"POST {target} HTTP/1.1", "Host: service", f"{name}: {value}"]
    if draw(st.booleans()):
        lines.insert(draw(st.integers(1, 3)), f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")


@st.composite
def odd(draw: st.DrawFn) -> bytes:
    """Bytes like those of a request, unusual or broken."""
    line = draw(methods) + draw(blanks) + draw(targets) + draw(blanks) + draw(versions)
    fields = ["".join(field) for field in draw(st.lists(headers, max_size=4))]
    head = "".join(part + draw(line_ends) for part in [line, *fields]) + draw(line_ends)
    return (draw(st.sampled_from([*[""] * 9, "\r\n"])) + head + draw(st.sampled_from(BODIES))).encode("latin-1")


@examples(600)
@given(
    st.lists(st.one_of(nearly_ordinary(), nearly_ordinary(), odd()), min_size=1, max_size=3).map(b"".join),
    st.lists(st.integers(0, 400), max_size=2),
    st.sampled_from(LIMITED),
    st.booleans(),
)
def test_both_parsers_read_the_same(
    data: bytes,
    cuts: list[int],
    config: Config,
    reads_bodies: bool,  # noqa: FBT001
) -> None:
    """Whatever a client sends, in whatever pieces, the worker reads what gunicorn alone would read."""
    ends = [*sorted(cuts), len(data)]
    pieces = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    same(pieces, config, reads_bodies=reads_bodies)


@examples(300)
@given(st.integers(0, len(DEPOSIT) - 1), st.binary(max_size=2), st.integers(0, 2))
def test_a_broken_ordinary_request(at: int, put: bytes, removed: int) -> None:
    """Bytes that are added to an ordinary request, or taken from it, are judged as gunicorn judges them."""
    same([DEPOSIT[:at] + put + DEPOSIT[at + removed :]])


@pytest.mark.parametrize(
    "data",
    [
        DEPOSIT,
        b"GET /healthz HTTP/1.1\r\nHost: service\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HEAD /v1/transactions?limit=2&x=%20 HTTP/1.1\r\nHost:service\r\nConnection: close\r\n\r\n",
        b"DELETE /v1/a%20b HTTP/1.1\r\nhost: service\r\nX-Other: a: b\r\nAccept: */*\r\nconnection: Keep-Alive\r\n\r\n",
        b"POST /v1/callbacks/gatewayA HTTP/1.1\r\nHost: service\r\ncontent-length:2\r\nWebhook-Id: 1\r\n\r\n{}",
        b"PUT / HTTP/1.1\r\n" + b"Content-Length: 9\r\n\r\nhalf",
    ],
)
def test_an_ordinary_request_is_read_fast(data: bytes) -> None:
    """The requests of usual clients do not reach gunicorn's parser."""
    assert same([data]).ordinary == 1


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.0",
        "GET / HTTP/1.1\r\nExpect: 100-continue",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked",
        "GET / HTTP/1.1\r\nUpgrade: h2c",
        "GET / HTTP/1.1\r\nConnection: close, x",
        "GET / HTTP/1.1\r\nContent-Length: +0",
        "GET / HTTP/1.1\r\nA: b\r\nA: b",
        "GET / HTTP/1.1\r\nA_B: c",
        "GET / HTTP/1.1\r\nA : b",
        "GET / HTTP/1.1\r\nA: b\r\n c",
        "GET / HTTP/1.1\r\nA: \xe9",
        "GET /#a HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "TRACE / HTTP/1.1",
    ],
)
def test_an_unusual_request_is_left_to_gunicorn(head: str) -> None:
    """The fast reader does not judge what it does not know."""
    assert same([head.encode("latin-1") + b"\r\n\r\n"]).ordinary == 0


def test_requests_on_one_connection() -> None:
    """Requests in one piece are read one by one, also between unusual ones."""
    odd = b"GET /odd HTTP/1.1\r\nX: 1\r\nX: 2\r\n\r\n"
    reading = same([DEPOSIT + odd + DEPOSIT + DEPOSIT[:20], DEPOSIT[20:]])
    assert (len(reading.requests), reading.ordinary) == (4, 2)


@pytest.mark.parametrize("reads_bodies", [True, False])
def test_a_body_that_arrives_later(reads_bodies: bool) -> None:  # noqa: FBT001
    """A head is read as soon as it is complete; the next request begins after its body."""
    reading = same([DEPOSIT[:-2], b"{", b"}" + DEPOSIT], reads_bodies=reads_bodies)
    assert (len(reading.requests), reading.ordinary) == (2, 2)


@pytest.mark.parametrize("config", LIMITED[1:4])
def test_the_limits_of_the_operator_hold(config: Config) -> None:
    """A request beyond a limit of gunicorn's options is not ordinary."""
    line = b"GET /v1/transactions?status=pending&limit=200 HTTP/1.1"
    data = line + b"\r\nHost: s\r\nA: b\r\nUser-Agent: " + b"x" * 20 + b"\r\n\r\n"
    assert read_head(data, {}, Limits.of(LIMITED[0])) is not None
    assert read_head(data, {}, Limits.of(config)) is None
    assert same([data], config).end.startswith("Limit")


def test_a_path_below_script_name_is_gunicorns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix of all paths in the environment, gunicorn reads every request."""
    monkeypatch.setenv("SCRIPT_NAME", "/v1")
    assert same([DEPOSIT]).ordinary == 0
