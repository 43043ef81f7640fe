"""Responses that leave in one send consist of the bytes that gunicorn would send."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, Final, TypeAlias, cast

import pytest
from gunicorn.http.wsgi import Response
from hypothesis import given
from hypothesis import strategies as st

from server.responses import OneSendResponse
from tests.effort import examples
from tests.server.connections import Client, configured

CONFIG: Final = configured()
DATE: Final = re.compile(rb"Date: [^\r]*")

statuses = st.sampled_from(
    [
        *("200 OK", "202 Accepted", "404 Not Found", "204 No Content", "304 Not Modified", "101 Switching"),
        *("100 Continue", "999 ", "200", "20 OK", "200\r\nA: b", "200 \xe9", "\u0661\u0661\u0661 OK", ""),
    ]
)
names = st.sampled_from(
    [
        *("content-length", "Content-Length", "content-type", "Location", "X-Request-ID", "connection", "Keep-Alive"),
        *("transfer-encoding", "upgrade", "a b", "a:", "", "a\r\nb", "\xe9"),
    ]
)
values = st.sampled_from(
    [
        *("0", "2", "3", "application/json", "a b", " a ", "\ta", "", "a\r\nb: c", "a\n", "\x00", "\xe9", "\u20ac"),
        *("-1", "+2", "websocket", "upgrade", "close"),
    ]
)
parts = st.lists(st.sampled_from([b"", b"{}", b"abc", b"a"]), max_size=3)
headers = st.lists(st.tuples(names, values), max_size=3)
usual_headers = headers.map(lambda more: [("content-length", "2"), *more])


Fields: TypeAlias = list[tuple[str, str]]


def sent_by(kind: type[Response], request: Any, status: str, fields: Fields, body: list[bytes]) -> object:
    """What the client gets, and the error that the server meets."""
    client = Client()
    response = kind(request, client.socket, CONFIG)
    error = None
    try:
        response.start_response(status, fields)
        for part in body:
            response.write(part)
        response.close()
    except Exception as raised:  # noqa: BLE001  # the two have to end with the same error, whichever it is
        error = (type(raised), str(raised))
    closes = response.should_close() if error is None else None
    return DATE.sub(b"Date:", b"".join(client.sent)), error, closes, response.headers_sent, response.sent


@examples(600)
@given(
    st.one_of(st.just("202 Accepted"), statuses),
    st.one_of(usual_headers, headers),
    st.one_of(st.just([b"{}"]), parts),
    st.builds(
        lambda method, version, closes: SimpleNamespace(method=method, version=version, should_close=lambda: closes),
        st.sampled_from(["POST", "POST", "GET", "HEAD"]),
        st.sampled_from([(1, 1), (1, 0)]),
        st.booleans(),
    ),
)
def test_the_bytes_are_gunicorns(status: str, fields: Fields, body: list[bytes], request_: SimpleNamespace) -> None:
    """Whatever the application answers, the client gets what gunicorn alone would send it."""
    ours = sent_by(OneSendResponse, request_, status, fields, body)
    assert ours == sent_by(Response, request_, status, fields, body)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("304 Not Modified", [("content-length", "2")]),
        ("500 Internal Server Error", [("content-length", "2"), ("x", "\xe9")]),
        ("200 OK", [("content-length", "2"), ("connection", "close")]),
    ],
)
def test_a_response_that_replaces_another_is_gunicorns(status: str, fields: Fields) -> None:
    """After an error the application may begin again, until the head is sent."""

    def sent(kind: type[Response]) -> bytes:
        client = Client()
        request = SimpleNamespace(method="GET", version=(1, 1), should_close=lambda: False)
        response = kind(cast("Any", request), client.socket, CONFIG)
        response.start_response("200 OK", [("content-length", "2")])
        error = ValueError()
        response.start_response(status, fields, (ValueError, error, cast("Any", None)))
        response.write(b"{}")
        response.close()
        return DATE.sub(b"Date:", b"".join(client.sent))

    assert sent(OneSendResponse) == sent(Response)


def test_head_and_body_leave_in_one_send() -> None:
    """The kernel and the client are called once for a usual response."""
    client = Client()
    request = SimpleNamespace(method="POST", version=(1, 1), should_close=lambda: False)
    response = OneSendResponse(cast("Any", request), client.socket, CONFIG)
    response.start_response("202 Accepted", [("content-length", "2"), ("content-type", "application/json")])
    response.write(b"{}")
    response.close()
    (sent,) = client.sent
    assert DATE.sub(b"Date:", sent) == (
        b"HTTP/1.1 202 Accepted\r\nServer: gunicorn\r\nDate:\r\nConnection: keep-alive\r\n"
        b"content-length: 2\r\ncontent-type: application/json\r\n\r\n{}"
    )


def test_the_date_is_that_of_the_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """The date is made once a second, and is gunicorn's."""
    request = SimpleNamespace(method="GET", version=(1, 1), should_close=lambda: False)
    for seconds, date in ((1.9, b"Thu, 01 Jan 1970 00:00:01 GMT"), (2.0, b"Thu, 01 Jan 1970 00:00:02 GMT")):
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        client = Client()
        response = OneSendResponse(cast("Any", request), client.socket, CONFIG)
        response.start_response("200 OK", [("content-length", "0")])
        response.write(b"")
        assert b"Date: " + date + b"\r\n" in b"".join(client.sent)
