"""What every adapter must keep, whatever its provider's words: run against each subject over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from domain.events import Kind
from domain.outcomes import (
    Approved,
    Category,
    Declined,
    GatewayError,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
)
from gateways.port import Gateway, Order
from tests.gateways.peer import (
    Behave,
    FullListener,
    Peer,
    answers,
    closes,
    drips,
    first,
    resets,
    says_nothing,
    sends_and_closes,
    unused_port,
)
from tests.gateways.subjects import SUBJECTS, Subject

HASTY_S = 0.3
PATIENCE_S = 5.0  # far above that deadline, for a busy machine, and far below what the misbehaving peers would take
CARD = "4111111111111111"  # sent by a careless provider; must not come out again

Ask = Callable[[Gateway, Order], Outcome | NotReceived]
ASKS: dict[str, Ask] = {
    "submit": lambda gateway, order: gateway.submit(order),
    "lookup": lambda gateway, order: gateway.lookup(order),
}
ask_both_ways = pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)


@dataclass
class Ground:
    """One subject and its provider."""

    subject: Subject
    peer: Peer
    gateway: Gateway
    hasty: Gateway  # the same with a short deadline

    def provider_says(self, status: str, code: str | None = None, reference: str = "X-1") -> None:
        """Let the provider answer properly."""
        body = self.subject.said(status, code, reference)
        self.peer.behave = answers(200, body, self.subject.media_type)


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.adapter)
def ground(request: pytest.FixtureRequest, peer: Peer) -> Iterator[Ground]:
    """A ground for each subject."""
    subject: Subject = request.param
    gateway, hasty = subject.gateway(peer.url), subject.gateway(peer.url, timeout_s=HASTY_S)
    yield Ground(subject, peer, gateway, hasty)
    gateway.close()
    hasty.close()


# --- what the provider says plainly ---


@ask_both_ways
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("status", "final"), [("success", True), ("pending", False)])
def test_approved(
    ground: Ground, order: Callable[..., Order], *, ask: Ask, kind: Kind, status: str, final: bool
) -> None:
    """Success is final, pending is not, and both carry the provider's reference."""
    ground.provider_says(status, reference="X-42")
    assert ask(ground.gateway, order(kind=kind)) == Approved("X-42", final=final)


@ask_both_ways
def test_a_decline_is_a_value(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """A well-formed decline is an answer, not an error, even when it gives no code."""
    ground.provider_says("declined")
    assert ask(ground.gateway, order()) == Declined("declined", None, "Declined without a code.")


@ask_both_ways
@pytest.mark.parametrize("code", ["~" * 10, f"card {CARD}", CARD, "ä", "A\nB"])
def test_a_decline_repeats_no_odd_code(ground: Ground, order: Callable[..., Order], ask: Ask, code: str) -> None:
    """A code that does not look like one still declines, and its text goes nowhere."""
    ground.provider_says("declined", code)
    outcome = ask(ground.gateway, order())
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.category) == ("declined", None)
    assert CARD not in outcome.message


def test_never_received(ground: Ground, order: Callable[..., Order]) -> None:
    """The provider's own word for "never seen" is NotReceived for a lookup."""
    status, body = ground.subject.not_found
    ground.peer.behave = answers(status, body, ground.subject.media_type)
    assert ground.gateway.lookup(order()) == NotReceived()


def test_never_received_is_no_answer_to_a_submission(ground: Ground, order: Callable[..., Order]) -> None:
    """A provider that has just been asked to act cannot say that it never was."""
    status, body = ground.subject.not_found
    ground.peer.behave = answers(status, body, ground.subject.media_type)
    with pytest.raises(OutcomeUnknownError):
        ground.gateway.submit(order())


@ask_both_ways
def test_a_missing_content_type_is_fine(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """The body decides; a provider that names no type has not said another one."""
    ground.peer.behave = answers(200, ground.subject.said("success", None, "X-1"), "")
    assert ask(ground.gateway, order()) == Approved("X-1", final=True)


# --- everything else is unknown ---


@ask_both_ways
@pytest.mark.parametrize(
    "status", [201, 202, 203, 206, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 409, 410, 418, 422, 429]
)
def test_only_200_says_anything(ground: Ground, order: Callable[..., Order], ask: Ask, status: int) -> None:
    """With any other status even a perfect body says nothing; no redirect is followed, nothing sent again."""
    ground.peer.behave = answers(
        status, ground.subject.said("success", None, "X-1"), ground.subject.media_type, Location="/elsewhere"
    )
    with pytest.raises(OutcomeUnknownError, match=f"answered with status {status}$"):
        ask(ground.gateway, order())
    assert len(ground.peer.requests) == 1


@ask_both_ways
@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 599])
def test_a_providers_trouble_is_unknown(ground: Ground, order: Callable[..., Order], ask: Ask, status: int) -> None:
    """A 5xx may come after the effect, and a body that tells of a decline does not change that."""
    ground.peer.behave = answers(
        status, ground.subject.said("declined", None, "X-1"), ground.subject.media_type, Retry_After="1"
    )
    with pytest.raises(OutcomeUnknownError):
        ask(ground.gateway, order())
    assert len(ground.peer.requests) == 1


@ask_both_ways
def test_malformed_answers_are_unknown(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """What is not exactly an answer of the provider's says nothing, and never raises anything else."""
    for name, body in ground.subject.malformed.items():
        ground.peer.behave = answers(200, body, ground.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"{name}: {ask(ground.gateway, order())}")


@ask_both_ways
@pytest.mark.parametrize("status", ["", "ok", "not_found", "completed", "failed", "Success", " success"])
def test_foreign_statuses_are_unknown(ground: Ground, order: Callable[..., Order], ask: Ask, status: str) -> None:
    """A status that the contract does not list may mean anything."""
    ground.provider_says(status)
    if ground.subject.said(status, None, "X-1") == ground.subject.not_found[1] and ask is ASKS["lookup"]:
        pytest.skip("this is how this provider says that it never received it")
    with pytest.raises(OutcomeUnknownError):
        ask(ground.gateway, order())


@ask_both_ways
def test_another_content_type_is_unknown(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """A page of a proxy is no answer of the provider, whatever stands in it."""
    ground.peer.behave = answers(200, ground.subject.said("success", None, "X-1"), ground.subject.foreign_media_type)
    with pytest.raises(OutcomeUnknownError):
        ask(ground.gateway, order())


def test_another_404_is_unknown(ground: Ground, order: Callable[..., Order]) -> None:
    """A lookup that is answered 404 by somebody else, such as a proxy, does not mean "never received"."""
    for body in (b"", b"Not Found", b"{}", b'{"error": "no_route"}', b'{"error": "not_found", "error": 1}', b"<a/>"):
        ground.peer.behave = answers(404, body, ground.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            ground.gateway.lookup(order())


def broken(subject: Subject) -> dict[str, Behave]:
    """Ways in which a connection can fail after the request, all of them about a perfect answer."""
    body = subject.said("success", None, "X-1")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {subject.media_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return {
        "silence": says_nothing,
        "reset": resets,
        "closed": closes,
        "cut short": sends_and_closes(head + body[:-1]),
        "headers a byte at a time": drips(head + body),
        "body a byte at a time": drips(head + body, at=len(head)),
        "giant": sends_and_closes(head.replace(b"Content-Length", b"X-Length") + body + b" " * 100_000),
        "no HTTP": sends_and_closes(body),
    }


@ask_both_ways
@pytest.mark.parametrize("name", broken(SUBJECTS[0]))
def test_broken_connections_are_unknown(ground: Ground, order: Callable[..., Order], ask: Ask, name: str) -> None:
    """After the request went out, no whole answer within the deadline means unknown, and the request went out once."""
    ground.peer.behave = broken(ground.subject)[name]
    started = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        ask(ground.hasty, order())
    assert time.monotonic() - started < PATIENCE_S
    assert len(ground.peer.requests) == 1


@ask_both_ways
def test_a_stale_connection_is_never_a_second_attempt(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """A kept connection that breaks under the next request leaves that one unknown; it is not repeated."""
    body = ground.subject.said("success", None, "X-1")
    ground.peer.behave = first(resets, once=answers(200, body, ground.subject.media_type))
    ask(ground.gateway, order())
    with pytest.raises(OutcomeUnknownError):
        ask(ground.gateway, order())
    assert len(ground.peer.requests) == 2


# --- surely not sent ---


@ask_both_ways
def test_nobody_there(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """A refused connection carried nothing."""
    gateway = ground.subject.gateway(f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(NotSentError):
        ask(gateway, order())
    gateway.close()


@ask_both_ways
def test_a_connection_that_never_comes(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """A connect that runs into the deadline carried nothing."""
    full = FullListener()
    gateway = ground.subject.gateway(f"http://127.0.0.1:{full.port}", timeout_s=HASTY_S)
    with pytest.raises(NotSentError):
        ask(gateway, order())
    gateway.close()
    full.close()


@ask_both_ways
def test_a_closed_gateway_sends_nothing(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """After close() calls are not sent."""
    ground.gateway.close()
    with pytest.raises(NotSentError):
        ask(ground.gateway, order())
    assert not ground.peer.requests


# --- what is sent ---


def test_a_repetition_is_the_same_request(ground: Ground, order: Callable[..., Order]) -> None:
    """Sent again, an order goes out with the very same reference, key and body."""
    ground.provider_says("success")
    again = order(note="ä\u2028")
    ground.gateway.submit(again)
    ground.gateway.submit(again)
    once, twice = ground.peer.requests
    assert once == twice
    assert again.transaction_id.encode() in once.body


@ask_both_ways
def test_errors_hold_nothing_confidential(ground: Ground, order: Callable[..., Order], ask: Ask) -> None:
    """Neither what we sent nor what came back stands in the text of an error, nor in those behind it."""
    for behave in (
        answers(500, CARD.encode(), ground.subject.media_type),
        answers(200, CARD.encode(), ground.subject.media_type),
        answers(200, ground.subject.said(CARD, CARD, CARD), ground.subject.media_type),
        answers(404, CARD.encode(), ground.subject.media_type),
        sends_and_closes(CARD.encode()),
    ):
        ground.peer.behave = behave
        with pytest.raises(GatewayError) as caught:
            ask(ground.gateway, order(secret="s3cr3t"))
        error: BaseException | None = caught.value
        while error is not None:
            assert CARD not in str(error)
            assert "s3cr3t" not in str(error)
            error = error.__cause__ or error.__context__


def test_facts(ground: Ground) -> None:
    """The facts that others rely on fit together."""
    gateway = ground.gateway
    assert gateway.name == "subject"
    assert gateway.currencies
    assert gateway.honours_keys is (gateway.idempotency_window_s > 0)


def test_categories_are_known(ground: Ground, order: Callable[..., Order]) -> None:
    """Every outcome of a decline has one of the two categories or none."""
    ground.provider_says("declined", "do_not_honor" if ground.subject.adapter == "gateway_a" else "05")
    assert ground.gateway.submit(order()) == Declined("do_not_honor", Category.HARD, "Declined: do not honor.")
