"""What every adapter must keep, whatever its provider's words: run against each subject over real HTTP.

How connections fail is in test_contract_connections.
"""

from __future__ import annotations

import pytest

from domain.events import Kind
from domain.outcomes import (
    Approved,
    Declined,
    GatewayError,
    NotReceived,
    NotSentError,
    OutcomeUnknownError,
)
from tests.gateways.contract import ASKS, Ask, Fixture, Orders, ask_both_ways, ask_by_lookup
from tests.gateways.peer import answers, sends_and_closes

CARD = "4111111111111111"  # sent by a careless provider; must not come out again


# --- what the provider says plainly ---


@ask_both_ways
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("status", "final"), [("success", True), ("pending", False)])
def test_approved(ground: Fixture, order: Orders, *, ask: Ask, kind: Kind, status: str, final: bool) -> None:
    """Success is final, pending is not, and both carry the provider's reference."""
    ground.provider_says(status, reference="X-42")
    assert ask(ground.gateway, order(kind=kind)) == Approved("X-42", final=final)


@ask_both_ways
def test_a_decline_is_a_value(ground: Fixture, order: Orders, ask: Ask) -> None:
    """A well-formed decline is an answer, not an error, even when it gives no code."""
    ground.provider_says("declined", reference="X-42")
    assert ask(ground.gateway, order()) == Declined("declined", None, "Declined without a code.", "X-42")


@ask_both_ways
@pytest.mark.parametrize("code", ["~" * 10, f"card {CARD}", CARD, "ä", "A\nB"])
def test_a_decline_repeats_no_odd_code(ground: Fixture, order: Orders, ask: Ask, code: str) -> None:
    """A code that does not look like one still declines, and its text goes nowhere."""
    ground.provider_says("declined", code)
    outcome = ask(ground.gateway, order())
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.category) == ("declined", None)
    assert CARD not in outcome.message


@ask_both_ways
def test_the_codes_of_a_decline(ground: Fixture, order: Orders, ask: Ask) -> None:
    """Each code of the provider's table becomes the normalised one with its category."""
    for theirs, (code, category) in ground.subject.codes.items():
        ground.provider_says("declined", theirs, reference="X-42")
        assert ask(ground.gateway, order()) == Declined(code, category, f"Declined: {code.replace('_', ' ')}.", "X-42")


@ask_by_lookup
def test_never_received(ground: Fixture, order: Orders, ask: Ask) -> None:
    """The provider's own word for "never seen" is NotReceived for a lookup."""
    status, body = ground.subject.not_found
    ground.peer.behave = answers(status, body, ground.subject.media_type)
    assert ask(ground.gateway, order()) == NotReceived()


def test_never_received_is_no_answer_to_a_submission(ground: Fixture, order: Orders) -> None:
    """A provider that has just been asked to act cannot say that it never was."""
    status, body = ground.subject.not_found
    ground.peer.behave = answers(status, body, ground.subject.media_type)
    with pytest.raises(OutcomeUnknownError):
        ground.gateway.submit(order())


@ask_both_ways
def test_a_missing_content_type_is_fine(ground: Fixture, order: Orders, ask: Ask) -> None:
    """The body decides; a provider that names no type has not said another one."""
    ground.peer.behave = answers(200, ground.subject.said("success", None, "X-1"), "")
    assert ask(ground.gateway, order()) == Approved("X-1", final=True)


# --- everything else is unknown ---


@ask_both_ways
@pytest.mark.parametrize("status", [201, 202, 203, 206, 300, 301, 302, 303, 307, 308])
def test_only_200_says_anything(ground: Fixture, order: Orders, ask: Ask, status: int) -> None:
    """With any other status even a perfect body says nothing; no redirect is followed, nothing sent again."""
    ground.peer.behave = answers(
        status, ground.subject.said("success", None, "X-1"), ground.subject.media_type, Location="/elsewhere"
    )
    with pytest.raises(OutcomeUnknownError, match=f"answered with status {status}$"):
        ask(ground.gateway, order())
    assert len(ground.peer.requests) == 1


@ask_both_ways
@pytest.mark.parametrize("said", ["success", "pending", "declined"])
def test_every_4xx_and_5xx(ground: Fixture, order: Orders, ask: Ask, said: str) -> None:
    """Each may come after the effect, whatever its body tells; but for those that the gateway's own table lists.

    A listed one promises that the provider did nothing, which is "not sent" for a submission; to a lookup it says
    nothing, for that was about another request.
    """
    body = ground.subject.said(said, next(iter(ground.subject.codes)), "X-1")
    for status in range(400, 600):
        ground.peer.behave = answers(status, body, ground.subject.media_type, Retry_After="1")
        listed = status in ground.subject.not_executed and ask is ASKS["submit"]
        with pytest.raises(NotSentError if listed else OutcomeUnknownError, match=rf"answered (with status )?{status}"):
            ask(ground.gateway, order())
    assert len(ground.peer.requests) == 200


@ask_both_ways
def test_malformed_answers_are_unknown(ground: Fixture, order: Orders, ask: Ask) -> None:
    """What is not exactly an answer of the provider's says nothing, and never raises anything else."""
    for name, body in ground.subject.malformed.items():
        ground.peer.behave = answers(200, body, ground.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"{name}: {ask(ground.gateway, order())}")


@ask_both_ways
@pytest.mark.parametrize("status", ["", "ok", "not_found", "completed", "failed", "Success", " success"])
def test_foreign_statuses_are_unknown(ground: Fixture, order: Orders, ask: Ask, status: str) -> None:
    """A status that the contract does not list may mean anything; "not found" under a reference is nonsense."""
    ground.provider_says(status)
    with pytest.raises(OutcomeUnknownError):
        ask(ground.gateway, order())


@ask_both_ways
def test_another_content_type_is_unknown(ground: Fixture, order: Orders, ask: Ask) -> None:
    """A page of a proxy is no answer of the provider, whatever stands in it."""
    body = ground.subject.said("success", None, "X-1")
    for foreign in ground.subject.foreign_media_types:
        ground.peer.behave = answers(200, body, foreign)
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"{foreign}: {ask(ground.gateway, order())}")
    two = answers(200, body, f"{ground.subject.media_type}; charset=utf-8", content_type="text/html")
    ground.peer.behave = two
    with pytest.raises(OutcomeUnknownError):
        ask(ground.gateway, order())


@ask_by_lookup
def test_another_404_is_unknown(ground: Fixture, order: Orders, ask: Ask) -> None:
    """A lookup that is answered 404 by somebody else, such as a proxy, does not mean "never received"."""
    bodies = [b"", b"Not Found", b"{}", b'{"error": "no_route"}', b'{"error": "not_found", "error": 1}', b"<a/>"]
    if ground.subject.not_found[0] != 404:
        bodies.append(ground.subject.not_found[1])
    for body in bodies:
        ground.peer.behave = answers(404, body, ground.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            ask(ground.gateway, order())


@ask_by_lookup
def test_half_of_never_received_is_unknown(ground: Fixture, order: Orders, ask: Ask) -> None:
    """The provider's word for "never seen" counts whole, in its own content type and with its own status alone."""
    status, body = ground.subject.not_found
    for behave in (
        answers(status, body, "text/html"),
        answers(503, body, ground.subject.media_type),
        answers(status, body[:-1], ground.subject.media_type),
        answers(status, body * 2, ground.subject.media_type),
    ):
        ground.peer.behave = behave
        with pytest.raises(OutcomeUnknownError):
            ask(ground.gateway, order())


# --- what is sent ---


def test_a_repetition_is_the_same_request(ground: Fixture, order: Orders) -> None:
    """Sent again, an order goes out with the very same reference, key and body."""
    ground.provider_says("success")
    again = order(note="ä\u2028")
    ground.gateway.submit(again)
    ground.gateway.submit(again)
    once, twice = ground.peer.requests
    assert once == twice
    assert again.transaction_id.encode() in once.body


@ask_both_ways
def test_errors_hold_nothing_confidential(ground: Fixture, order: Orders, ask: Ask) -> None:
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


def test_facts(ground: Fixture, order: Orders) -> None:
    """The facts that others rely on fit together."""
    gateway = ground.gateway
    assert gateway.name == "subject"
    assert gateway.currencies
    assert gateway.honours_keys is (gateway.idempotency_window_s > 0)
    if not gateway.looks_up:
        with pytest.raises(OutcomeUnknownError):
            gateway.lookup(order())
        assert not ground.peer.requests
