"""Every foreign error that can occur in the transport has exactly one meaning."""

from __future__ import annotations

import builtins
import socket
import ssl

import pytest

from domain.outcomes import GatewayError, NotSentError, OutcomeUnknownError
from gateways.http import HttpClient, addresses, connection, deadlines, pool
from gateways.http import client as client_module
from gateways.http.connection import Connection
from gateways.http.deadlines import Deadline, Deadlines
from gateways.http.errors import FOREIGN_ERRORS, TransportError, translated
from gateways.http.request import RequestEncoder
from tests.gateways.peer import Peer
from tests.gateways.transport import Client, post


def descendants(of: type[BaseException]) -> set[type[BaseException]]:
    """``of`` and every subclass that is loaded."""
    return {of}.union(*(descendants(each) for each in of.__subclasses__()))


# The modules that the transport uses. Errors of other loaded modules cannot be raised there.
MODULES = {"builtins", "socket", "ssl", "concurrent.futures", "gateways.http.errors"}
FOREIGN = sorted(
    {each for root in FOREIGN_ERRORS for each in descendants(root) if each.__module__ in MODULES},
    key=lambda each: (each.__module__, each.__qualname__),
)


def test_the_enumeration_is_complete() -> None:
    """The foreign errors include those of the network, TLS, name resolution, threads and the transport."""
    for each in (TimeoutError, ConnectionResetError, BrokenPipeError, socket.gaierror, socket.herror, ssl.SSLError):
        assert each in FOREIGN
    for other in (ssl.SSLCertVerificationError, ssl.SSLEOFError, UnicodeError, UnicodeEncodeError, TransportError):
        assert other in FOREIGN
    for module in (builtins, socket, ssl, addresses, client_module, connection, deadlines, pool):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, OSError | TransportError):
                assert value in FOREIGN


@pytest.mark.parametrize("error_class", FOREIGN, ids=lambda each: f"{each.__module__}.{each.__qualname__}")
def test_every_foreign_error_has_one_meaning(
    client: Client, peer: Peer, error_class: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first byte it means not sent, afterwards unknown.

    The connection is closed, and its slot is free again.
    """
    transport = client(peer.url, max_concurrent=1)
    error = error_class.__new__(error_class)

    def fail(*_args: object) -> bytes:
        raise error

    for where, name, meaning in [
        (client_module, "connect", NotSentError),
        (RequestEncoder, "encode", NotSentError),
        (Deadlines, "begin", NotSentError),
        (Deadline, "guard", NotSentError),
        (Connection, "start", NotSentError),
        (Connection, "exchange", OutcomeUnknownError),
        (Connection, "_receive", OutcomeUnknownError),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, fail)
            with pytest.raises(meaning) as caught:
                post(transport)
            assert caught.value.__cause__ is (error if isinstance(error, OSError | TransportError) else None)
            assert caught.value.__context__ is None
        assert not transport._pool._idle
    assert post(transport) == 200


class KilledError(BaseException):
    """The exception in a greenlet that is killed."""


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (client_module, "connect"),
        (Deadline, "guard"),
        (Connection, "start"),
        (Connection, "exchange"),
        (Connection, "_receive"),
    ],
)
def test_a_killed_call_leaves_no_connection(
    client: Client, peer: Peer, where: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed call frees its connection and its slot, and does not become an outcome."""

    def fail(*_args: object) -> bytes:
        raise KilledError

    transport = client(peer.url, max_concurrent=1)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fail)
        with pytest.raises(KilledError):
            post(transport)
    assert not transport._pool._idle
    assert post(transport) == 200


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: Connection refused"),
        (TimeoutError("timed out"), "TimeoutError: timed out"),
        (OSError(), "OSError"),
        (TransportError("the answer is too large"), "TransportError: the answer is too large"),
        (UnicodeError("4111111111111111"), "UnicodeError"),
        (RuntimeError("4111111111111111"), "RuntimeError"),
        (ValueError("Invalid header value b's3cr3t'"), "ValueError"),
    ],
)
def test_texts_of_errors(error: Exception, text: str) -> None:
    """The text states the gateway, whether anything was sent, and the cause.

    It quotes nothing of the request or response.
    """
    assert str(translated("one", error, sent=False)) == f"one: not sent, {text}"
    assert str(translated("one", error, sent=True)) == f"one: sent, then {text}"
    assert isinstance(translated("one", error, sent=True), GatewayError)


@pytest.mark.parametrize("url", ["ftp://x", "x", "", "http://"])
def test_an_unusable_url_is_refused_at_once(url: str) -> None:
    """A URL other than http or https is refused when the transport is made, not at the first call."""
    with pytest.raises(ValueError, match="not an http or https URL"):
        HttpClient("one", url, timeout_s=1, max_concurrent=1)
