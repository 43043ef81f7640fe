"""The transport against real sockets: requests that may have been sent are never sent twice."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.outcomes import OutcomeUnknownError
from gateways.http import IDLE_S_MAX, RESPONSE_BYTES_MAX
from tests.gateways.peer import (
    Behave,
    Exchange,
    Peer,
    answers,
    closes,
    drips,
    first,
    resets,
    sends,
    sends_and_closes,
    sends_nothing,
)
from tests.gateways.transport import ANSWER, PATIENCE_S, SHORT_DEADLINE_S, Client, post

# --- may have been sent ---

UNANSWERED: dict[str, Behave] = {
    "silence": sends_nothing,
    "reset": resets,
    "closed": closes,
    "not HTTP": sends_and_closes(b"220 mail.example.com ESMTP\r\n"),
    "cut short in the headers": sends_and_closes(ANSWER[:40]),
    "cut short in the body": sends_and_closes(ANSWER[:-1]),
    "silence in the middle": sends(ANSWER[:-1]),
    "headers a byte at a time": drips(ANSWER),
    "body a byte at a time": drips(ANSWER, at=ANSWER.index(b"\r\n\r\n") + 4),
    "announced too large": sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (RESPONSE_BYTES_MAX + 1)),
    "too large without an announcement": sends_and_closes(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * RESPONSE_BYTES_MAX),
    "headers without end": sends_and_closes(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * RESPONSE_BYTES_MAX),
}


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("behave", UNANSWERED.values(), ids=UNANSWERED)
def test_without_a_whole_answer_the_outcome_is_unknown(client: Client, peer: Peer, behave: Behave, method: str) -> None:
    """The outcome is unknown within the deadline, whatever the peer does, and the request was sent exactly once."""
    peer.behave = behave
    started = time.monotonic()
    with pytest.raises(OutcomeUnknownError, match=r"^one: sent, then "):
        client(peer.url, SHORT_DEADLINE_S).request(method, "/deposits", {})
    assert time.monotonic() - started < PATIENCE_S
    assert len(peer.requests) == 1


def test_a_body_that_the_peer_does_not_read(client: Client) -> None:
    """A peer that accepts no more bytes cannot delay a call beyond its deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # connections wait in its queue without limit
        transport = client(f"http://127.0.0.1:{listener.getsockname()[1]}", SHORT_DEADLINE_S)
        started = time.monotonic()
        with pytest.raises(OutcomeUnknownError, match="sent, then TimeoutError"):
            transport.request("POST", "/", {}, b"x" * 50_000_000)
    assert time.monotonic() - started < PATIENCE_S


def test_the_largest_answer_is_accepted(client: Client, peer: Peer) -> None:
    """The limit applies to the whole response, and a response of exactly that size is accepted."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 65000\r\n\r\n"
    peer.behave = sends(head + b"x" * 65_000)
    assert len(client(peer.url).request("GET", "/", {}).body) == 65_000


# --- kept connections that are no longer usable ---


def test_a_connection_that_the_peer_closed_is_not_reused(client: Client, peer: Peer) -> None:
    """If the peer closes an idle connection, the next call opens a new one and succeeds."""
    closed = threading.Event()

    def answer_and_close(exchange: Exchange) -> None:
        answers(200, b"{}")(exchange)
        exchange.connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    peer.behave = answer_and_close
    transport = client(peer.url)
    for _ in range(3):
        closed.clear()
        assert post(transport) == 200
        assert closed.wait(5)
    assert (peer.connections, len(peer.requests)) == (3, 3)


def test_unexpected_bytes_make_a_connection_unusable(client: Client, peer: Peer) -> None:
    """Bytes that a peer sends between two responses are not taken for the next response."""
    peer.behave = first(answers(200, b"{}"), once=sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2))
    transport = client(peer.url)
    assert [transport.request("GET", "/", {}).body for _ in range(2)] == [b"", b"{}"]
    assert peer.connections == 2


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("behave", [resets, closes], ids=["reset", "closed"])
def test_a_request_on_a_kept_connection_is_never_repeated(
    client: Client, peer: Peer, behave: Behave, method: str
) -> None:
    """If a kept connection breaks under a request, its outcome is unknown, and it is not sent again."""
    peer.behave = first(behave, once=answers(200, b"{}"))
    transport = client(peer.url)
    post(transport)
    with pytest.raises(OutcomeUnknownError):
        transport.request(method, "/again", {})
    assert [request.path for request in peer.requests] == ["/deposits", "/again"]


def test_idle_connections_are_closed_before_the_peer_closes_them(client: Client, peer: Peer) -> None:
    """A connection that was idle for long is closed and not reused, because its peer may be about to close it."""
    now = [100.0]
    transport = client(peer.url, clock=lambda: now[0])
    post(transport)
    now[0] += IDLE_S_MAX - 0.1
    post(transport)
    assert peer.connections == 1
    now[0] += IDLE_S_MAX + 0.1
    post(transport)
    assert peer.connections == 2


def test_connections_that_are_no_longer_needed_are_closed(client: Client, peer: Peer) -> None:
    """After a busy period spare connections are closed, although the newest one is always preferred."""
    now = [100.0]
    transport = client(peer.url, clock=lambda: now[0])
    together = threading.Barrier(3)
    peer.behave = lambda exchange: (together.wait(5), answers(200, b"{}")(exchange))[1]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: post(transport), range(3)))
    assert len(transport._pool._idle) == 3
    peer.behave = answers(200, b"{}")
    for _ in range(2):
        now[0] += IDLE_S_MAX - 0.1
        post(transport)
    assert (len(transport._pool._idle), peer.connections) == (1, 3)
