"""The transport against real sockets: requests, responses, and requests that were surely not sent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.outcomes import NotSentError
from tests.gateways.peer import (
    Behave,
    Exchange,
    FullListener,
    Peer,
    answers,
    unused_port,
)
from tests.gateways.transport import PATIENCE_S, SHORT_DEADLINE_S, Client, post, resolve_to

# --- requests and responses ---


def test_the_request_is_sent_as_given(client: Client, peer: Peer) -> None:
    """Method, path below the URL's own, headers and body are sent as given, and the response is read completely."""
    peer.behave = answers(201, b'{"b": 2}', X_Extra="yes")
    answer = client(f"{peer.url}/v1/").request("POST", "/deposits", {"Idempotency-Key": "k-1"}, b'{"a": 1}')
    assert (answer.status, answer.body, answer.headers.get_all("X-extra")) == (201, b'{"b": 2}', ["yes"])
    request = peer.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/v1/deposits", b'{"a": 1}')
    assert request.headers == {
        "host": f"127.0.0.1:{peer.port}",
        "idempotency-key": "k-1",
        "content-length": "8",
        "accept-encoding": "identity",
    }


def test_head_and_body_leave_together(client: Client, peer: Peer) -> None:
    """Head and body of a request are sent together, so that the peer wakes once."""
    pieces: list[bytes] = []

    def behave(exchange: Exchange) -> None:
        answers(200, b"{}")(exchange)
        pieces.append(exchange.connection.recv(65536))
        answers(200, b"{}")(exchange)

    peer.behave = behave
    transport = client(peer.url)
    assert [post(transport) for _ in range(2)] == [200] * 2
    assert pieces[0].endswith(b'{"a": 1}')


def test_connections_are_reused(client: Client, peer: Peer) -> None:
    """Consecutive calls need one connection."""
    transport = client(peer.url)
    assert [post(transport) for _ in range(5)] == [200] * 5
    assert peer.connections == 1


def test_connections_are_bounded(client: Client, peer: Peer) -> None:
    """There are never more connections than max_concurrent, and all calls of many threads succeed."""
    transport = client(peer.url, max_concurrent=3)
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(lambda _: post(transport), range(60))) == [200] * 60
    assert peer.connections <= 3


def test_waiting_for_a_free_connection_counts(client: Client, peer: Peer) -> None:
    """A call that finds no free connection within its deadline was not sent."""
    transport = client(peer.url, SHORT_DEADLINE_S, max_concurrent=1)
    transport._pool.acquire(0)  # like a long call
    started = time.monotonic()
    with pytest.raises(NotSentError, match=r"no free connection within 0\.3 s"):
        post(transport)
    assert time.monotonic() - started < PATIENCE_S
    assert not peer.requests


def test_no_redirect_is_followed(client: Client, peer: Peer, peers: Callable[[Behave], Peer]) -> None:
    """A redirect is returned like any other response. No other server gets the request."""
    elsewhere = peers(answers(200, b"{}"))
    peer.behave = answers(307, b"", Location=f"{elsewhere.url}/deposits")
    assert post(client(peer.url)) == 307
    assert (len(peer.requests), len(elsewhere.requests)) == (1, 0)


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "a", "/ä"])
def test_an_invalid_path_is_not_sent(client: Client, peer: Peer, path: str) -> None:
    """No path can end the request line early."""
    with pytest.raises(NotSentError):
        client(peer.url).request("GET", path, {})
    assert not peer.requests


@pytest.mark.parametrize("header", [("X", "a\r\nY: b"), ("X\r\nY", "a"), ("X", "€"), ("", "a"), ("Host: a; X", "b")])
def test_an_invalid_header_is_not_sent(client: Client, peer: Peer, header: tuple[str, str]) -> None:
    """No header can end its line early."""
    with pytest.raises(NotSentError):
        client(peer.url).request("GET", "/", dict([header]))
    assert not peer.requests


# --- surely not sent ---


def test_refused(client: Client) -> None:
    """If no process listens at the address, nothing was sent."""
    with pytest.raises(NotSentError, match="one: not sent, ConnectionRefusedError"):
        post(client(f"http://127.0.0.1:{unused_port()}"))


def test_a_connect_that_hangs(client: Client) -> None:
    """A connection that is not made within the deadline carried nothing."""
    full = FullListener()
    with pytest.raises(NotSentError, match="not sent, TimeoutError"):
        post(client(f"http://127.0.0.1:{full.port}", SHORT_DEADLINE_S))
    full.close()


def test_a_name_without_address(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the host name cannot be resolved, nothing was sent."""

    def fail(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NotSentError, match="not sent, gaierror: Name or service not known"):
        post(client("http://pay.example.com"))


def test_a_resolver_that_hangs(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver has no deadline, but the call keeps its own."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: release.wait(30))
    started = time.monotonic()
    with pytest.raises(NotSentError, match="no address for the host in time"):
        post(client("http://pay.example.com", SHORT_DEADLINE_S))
    assert time.monotonic() - started < PATIENCE_S
    release.set()


def test_all_addresses_of_a_name_are_tried(client: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that refuses or hangs leaves time for the next one."""
    full = FullListener()
    resolve_to(monkeypatch, unused_port(), full.port, peer.port)
    assert post(client("http://pay.example.com", timeout_s=1.0)) == 200
    full.close()


def test_an_address_of_an_unsupported_family_is_passed_over(
    client: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without IPv6 cannot even create a socket for the first address of many providers."""
    unsupported = (-2, socket.SOCK_STREAM, 6, "", ("::1", peer.port, 0, 0))
    usable = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", peer.port))
    found = [unsupported, usable]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    transport = client("http://pay.example.com")
    assert post(transport) == 200
    found.remove(usable)
    with pytest.raises(NotSentError, match="Address family not supported"):
        client("http://pay.example.org").request("GET", "/", {})


def test_closed(client: Client, peer: Peer) -> None:
    """A closed transport sends nothing. Closing it twice is allowed."""
    transport = client(peer.url)
    post(transport)
    transport.close()
    transport.close()
    with pytest.raises(NotSentError):
        post(transport)
    assert len(peer.requests) == 1
