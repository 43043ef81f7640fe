"""The contract of every adapter when its connection fails: run against each subject over real HTTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from domain.outcomes import Approved, NotReceived, NotSentError, OutcomeUnknownError
from tests.gateways.contract import Call, Fixture, Orders, by_lookup, by_submit_and_lookup
from tests.gateways.peer import (
    Behave,
    FullListener,
    answers,
    closes,
    drips,
    first,
    resets,
    resets_after,
    sends_and_closes,
    sends_nothing,
    unused_port,
)
from tests.gateways.subjects import SUBJECTS, Subject
from tests.gateways.transport import PATIENCE_S, SHORT_DEADLINE_S

# --- after the request went out ---


def broken(subject: Subject) -> dict[str, Behave]:
    """Ways in which a connection fails after the request, each with a correct answer."""
    body = subject.response_body("success", None, "X-1")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {subject.media_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return {
        "silence": sends_nothing,
        "reset": resets,
        "closed": closes,
        "headers a byte at a time": drips(head + body),
        "body a byte at a time": drips(head + body, at=len(head)),
        "no length": sends_and_closes(head.replace(b"Content-Length", b"X-Length") + body),
        "giant": answers(200, body + b" " * 100_000, subject.media_type),
        "giant chunk": sends_and_closes(
            head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked") + b"186a0\r\n" + b" " * 10**5
        ),
        "giant headers": sends_and_closes(head[:-2] + (b"X: " + b"x" * 1000 + b"\r\n") * 90 + b"\r\n" + body),
        "announced giant": drips(head.replace(b"Length: ", b"Length: 999999") + body, at=len(head)),
        "no HTTP": sends_and_closes(body),
    }


@by_submit_and_lookup
@pytest.mark.parametrize("name", broken(SUBJECTS[0]))
def test_broken_connections_are_unknown(fixture: Fixture, order: Orders, call: Call, name: str) -> None:
    """Without a complete answer within the deadline the outcome is unknown, and the request was sent once."""
    fixture.peer.behave = broken(fixture.subject)[name]
    started = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        call(fixture.hasty, order())
    assert time.monotonic() - started < PATIENCE_S
    while not fixture.peer.requests:  # the client gave up before the peer's turn
        assert time.monotonic() - started < PATIENCE_S
        time.sleep(0.001)
    assert len(fixture.peer.requests) == 1


@by_submit_and_lookup
@pytest.mark.parametrize("ends", [sends_and_closes, resets_after], ids=["closed", "reset"])
def test_an_answer_that_breaks_off_is_unknown(
    fixture: Fixture, order: Orders, call: Call, ends: Callable[[bytes], Behave]
) -> None:
    """If the connection ends before the last byte, the outcome is unknown, wherever it ends."""
    body = fixture.subject.response_body("success", None, "X-1")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {fixture.subject.media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    cuts = {0, 1, len(b"HTTP/1.1 200"), len(b"HTTP/1.1 200 OK\r\n"), len(head) - 2, len(head), len(head) + 1}
    for cut in sorted({*cuts, len(whole) - len(body) // 2, len(whole) - 1}):
        fixture.peer.behave = ends(whole[:cut])
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"after {cut} bytes: {call(fixture.gateway, order())}")
    fixture.peer.behave = sends_and_closes(whole)
    assert call(fixture.gateway, order()) == Approved("X-1", final=True)


@by_lookup
def test_a_lookup_settles_a_timeout(fixture: Fixture, order: Orders, call: Call) -> None:
    """A timeout looks the same before and after the effect; a lookup distinguishes the two."""
    not_found = answers(*fixture.subject.not_found, fixture.subject.media_type)
    found = answers(200, fixture.subject.response_body("success", None, "X-1"), fixture.subject.media_type)
    for then, outcome in ((not_found, NotReceived()), (found, Approved("X-1", final=True))):
        payment = order()
        fixture.peer.behave = sends_nothing
        with pytest.raises(OutcomeUnknownError, match="timed out"):
            fixture.hasty.submit(payment)
        fixture.peer.behave = then
        assert call(fixture.gateway, payment) == outcome


@by_submit_and_lookup
def test_a_stale_connection_is_never_a_second_attempt(fixture: Fixture, order: Orders, call: Call) -> None:
    """If a kept connection breaks under a request, its outcome is unknown, and the request is not repeated."""
    body = fixture.subject.response_body("success", None, "X-1")
    fixture.peer.behave = first(resets, once=answers(200, body, fixture.subject.media_type))
    call(fixture.gateway, order())
    with pytest.raises(OutcomeUnknownError):
        call(fixture.gateway, order())
    assert len(fixture.peer.requests) == 2


# --- surely not sent ---


@by_submit_and_lookup
def test_a_refused_connection_is_not_sent(fixture: Fixture, order: Orders, call: Call) -> None:
    """A refused connection carried nothing, so the request was not sent."""
    gateway = fixture.subject.gateway(f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(NotSentError):
        call(gateway, order())
    gateway.close()


@by_submit_and_lookup
def test_an_unknown_host_name_is_not_sent(
    fixture: Fixture, order: Orders, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the host name cannot be resolved, nothing was sent."""

    def fail(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    gateway = fixture.subject.gateway("http://pay.example.invalid")
    with pytest.raises(NotSentError, match="Name or service not known"):
        call(gateway, order())
    gateway.close()


@by_submit_and_lookup
def test_a_connect_timeout_is_not_sent(fixture: Fixture, order: Orders, call: Call) -> None:
    """If connecting exceeds the deadline, nothing was sent."""
    full = FullListener()
    gateway = fixture.subject.gateway(f"http://127.0.0.1:{full.port}", timeout_s=SHORT_DEADLINE_S)
    with pytest.raises(NotSentError):
        call(gateway, order())
    gateway.close()
    full.close()


@by_submit_and_lookup
def test_a_closed_gateway_sends_nothing(fixture: Fixture, order: Orders, call: Call) -> None:
    """After ``close`` calls are not sent."""
    fixture.gateway.close()
    with pytest.raises(NotSentError):
        call(fixture.gateway, order())
    assert not fixture.peer.requests
