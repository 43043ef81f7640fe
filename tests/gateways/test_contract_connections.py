"""What every adapter must keep when its connection fails: run against each subject over real HTTP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from domain.outcomes import Approved, NotReceived, NotSentError, OutcomeUnknownError
from tests.gateways.contract import Ask, Fixture, Orders, ask_both_ways, ask_by_lookup
from tests.gateways.peer import (
    Behave,
    FullListener,
    answers,
    closes,
    drips,
    first,
    resets,
    resets_after,
    says_nothing,
    sends_and_closes,
    unused_port,
)
from tests.gateways.subjects import SUBJECTS, Subject
from tests.gateways.transport import HASTY_S, PATIENCE_S

# --- after the request went out ---


def broken(subject: Subject) -> dict[str, Behave]:
    """Ways in which a connection can fail after the request, all of them about a perfect answer."""
    body = subject.response_body("success", None, "X-1")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {subject.media_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return {
        "silence": says_nothing,
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


@ask_both_ways
@pytest.mark.parametrize("name", broken(SUBJECTS[0]))
def test_broken_connections_are_unknown(fixture: Fixture, order: Orders, ask: Ask, name: str) -> None:
    """After the request went out, no whole answer within the deadline means unknown, and the request went out once."""
    fixture.peer.behave = broken(fixture.subject)[name]
    started = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        ask(fixture.hasty, order())
    assert time.monotonic() - started < PATIENCE_S
    while not fixture.peer.requests:  # the client gave up before its peer had its turn
        assert time.monotonic() - started < PATIENCE_S
        time.sleep(0.001)
    assert len(fixture.peer.requests) == 1


@ask_both_ways
@pytest.mark.parametrize("ends", [sends_and_closes, resets_after], ids=["closed", "reset"])
def test_an_answer_that_breaks_off_is_unknown(
    fixture: Fixture, order: Orders, ask: Ask, ends: Callable[[bytes], Behave]
) -> None:
    """Wherever the connection ends before the last byte, what came so far says nothing."""
    body = fixture.subject.response_body("success", None, "X-1")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {fixture.subject.media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    whole = head.encode() + body
    cuts = {0, 1, len(b"HTTP/1.1 200"), len(b"HTTP/1.1 200 OK\r\n"), len(head) - 2, len(head), len(head) + 1}
    for cut in sorted({*cuts, len(whole) - len(body) // 2, len(whole) - 1}):
        fixture.peer.behave = ends(whole[:cut])
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"after {cut} bytes: {ask(fixture.gateway, order())}")
    fixture.peer.behave = sends_and_closes(whole)
    assert ask(fixture.gateway, order()) == Approved("X-1", final=True)


@ask_by_lookup
def test_a_lookup_settles_a_timeout(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """A submission that timed out looks the same before and after the effect; the lookup tells them apart."""
    not_found = answers(*fixture.subject.not_found, fixture.subject.media_type)
    found = answers(200, fixture.subject.response_body("success", None, "X-1"), fixture.subject.media_type)
    for then, outcome in ((not_found, NotReceived()), (found, Approved("X-1", final=True))):
        asked = order()
        fixture.peer.behave = says_nothing
        with pytest.raises(OutcomeUnknownError, match="timed out"):
            fixture.hasty.submit(asked)
        fixture.peer.behave = then
        assert ask(fixture.gateway, asked) == outcome


@ask_both_ways
def test_a_stale_connection_is_never_a_second_attempt(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """A kept connection that breaks under the next request leaves that one unknown; it is not repeated."""
    body = fixture.subject.response_body("success", None, "X-1")
    fixture.peer.behave = first(resets, once=answers(200, body, fixture.subject.media_type))
    ask(fixture.gateway, order())
    with pytest.raises(OutcomeUnknownError):
        ask(fixture.gateway, order())
    assert len(fixture.peer.requests) == 2


# --- surely not sent ---


@ask_both_ways
def test_nobody_there(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """A refused connection carried nothing."""
    gateway = fixture.subject.gateway(f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(NotSentError):
        ask(gateway, order())
    gateway.close()


@ask_both_ways
def test_a_name_that_nobody_has(fixture: Fixture, order: Orders, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose name cannot be resolved was sent nothing."""

    def fail(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    gateway = fixture.subject.gateway("http://pay.example.invalid")
    with pytest.raises(NotSentError, match="Name or service not known"):
        ask(gateway, order())
    gateway.close()


@ask_both_ways
def test_a_connection_that_never_comes(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """A connect that runs into the deadline carried nothing."""
    full = FullListener()
    gateway = fixture.subject.gateway(f"http://127.0.0.1:{full.port}", timeout_s=HASTY_S)
    with pytest.raises(NotSentError):
        ask(gateway, order())
    gateway.close()
    full.close()


@ask_both_ways
def test_a_closed_gateway_sends_nothing(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """After close() calls are not sent."""
    fixture.gateway.close()
    with pytest.raises(NotSentError):
        ask(fixture.gateway, order())
    assert not fixture.peer.requests
