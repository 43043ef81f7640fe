"""The transport over TLS: trusted certificates, and the same deadline."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

import pytest

from domain.outcomes import NotSentError, OutcomeUnknownError
from tests.gateways.peer import (
    Behave,
    Dripper,
    Peer,
    answers,
    drips,
    resets,
    sends,
    sends_and_closes,
    sends_nothing,
)
from tests.gateways.transport import ANSWER, PATIENCE_S, SHORT_DEADLINE_S, TLS, Client, post, resolve_to


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    """The TLS side of a peer, with a certificate for localhost and 127.0.0.1 that only the tests trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    return context


@pytest.fixture
def tls_peer(server_tls: ssl.SSLContext) -> Iterator[Peer]:
    """A server over TLS."""
    started = Peer(answers(200, b"{}"), server_tls)
    yield started
    started.close()


@pytest.fixture
def trust() -> ssl.SSLContext:
    """A TLS context that trusts the tests' certificate."""
    return ssl.create_default_context(cafile=str(TLS / "certificate.pem"))


def test_tls(client: Client, tls_peer: Peer, trust: ssl.SSLContext) -> None:
    """Calls over TLS succeed, and their connection is reused."""
    transport = client(tls_peer.url, tls=trust)
    tls_peer.behave = answers(200, b"x" * 50_000)
    assert [len(transport.request("POST", "/", {}, b"y" * 100_000).body) for _ in range(3)] == [50_000] * 3
    assert [len(request.body) for request in tls_peer.requests] == [100_000] * 3
    assert tls_peer.connections == 1


def test_an_unknown_certificate_gets_no_request(client: Client, tls_peer: Peer) -> None:
    """Without a trusted certificate of the peer, nothing is sent to it."""
    with pytest.raises(NotSentError, match="certificate verify failed"):
        post(client(tls_peer.url))
    assert not tls_peer.requests


def test_a_certificate_for_another_host_gets_no_request(
    client: Client, tls_peer: Peer, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted certificate of another host is not enough."""
    resolve_to(monkeypatch, tls_peer.port)
    with pytest.raises(NotSentError, match="Hostname mismatch"):
        post(client("https://pay.example.com", tls=trust))
    assert not tls_peer.requests


@pytest.mark.parametrize(
    "data",
    [b"", b"\x16\x03\x03\x40\x00" + b"x" * 400, b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["hangs", "drips", "plain"],
)
def test_a_failed_handshake_is_not_sent(client: Client, trust: ssl.SSLContext, data: bytes) -> None:
    """If the peer hangs or drips during the handshake, or does not use TLS, nothing was sent. The deadline holds."""
    dripper = Dripper(data)
    started = time.monotonic()
    with pytest.raises(NotSentError):
        post(client(f"https://127.0.0.1:{dripper.port}", SHORT_DEADLINE_S, tls=trust))
    assert time.monotonic() - started < PATIENCE_S
    dripper.close()


@pytest.mark.parametrize(
    "behave",
    [sends_nothing, drips(ANSWER), sends(ANSWER[:-1]), sends_and_closes(ANSWER[:-1]), resets],
    ids=["silence", "a byte at a time", "silence in the middle", "cut short", "reset"],
)
def test_without_a_whole_answer_over_tls(client: Client, tls_peer: Peer, trust: ssl.SSLContext, behave: Behave) -> None:
    """Over TLS, too, the deadline holds and the outcome is unknown."""
    tls_peer.behave = behave
    started = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        post(client(tls_peer.url, timeout_s=0.5, tls=trust))
    assert time.monotonic() - started < PATIENCE_S
    assert len(tls_peer.requests) == 1


def test_bytes_that_tls_has_read_make_a_connection_unusable(
    client: Client, tls_peer: Peer, trust: ssl.SSLContext
) -> None:
    """Bytes after an answer are not read as the next answer, also when the system has none of them left to read."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 8000\r\nX-Filler: "
    answer = head + b"x" * (8192 - len(head) - 4 - 8000) + b"\r\n\r\n" + b"y" * 8000  # one read
    transport = client(tls_peer.url, tls=trust)
    tls_peer.behave = sends(answer + ANSWER)
    assert [len(transport.request("POST", "/", {}).body) for _ in range(2)] == [8000] * 2
    assert tls_peer.connections == 2
