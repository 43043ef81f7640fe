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
def test_approved(fixture: Fixture, order: Orders, *, ask: Ask, kind: Kind, status: str, final: bool) -> None:
    """Success is final, pending is not, and both carry the provider's reference."""
    fixture.provider_says(status, reference="X-42")
    assert ask(fixture.gateway, order(kind=kind)) == Approved("X-42", final=final)


@ask_both_ways
def test_a_decline_is_a_value(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """A well-formed decline is an answer, not an error, even when it gives no code."""
    fixture.provider_says("declined", reference="X-42")
    assert ask(fixture.gateway, order()) == Declined("declined", None, "Declined without a code.", "X-42")


@ask_both_ways
@pytest.mark.parametrize("code", ["~" * 10, f"card {CARD}", CARD, "ä", "A\nB"])
def test_a_decline_repeats_no_odd_code(fixture: Fixture, order: Orders, ask: Ask, code: str) -> None:
    """A code that does not look like one still declines, and its text goes nowhere."""
    fixture.provider_says("declined", code)
    outcome = ask(fixture.gateway, order())
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.category) == ("declined", None)
    assert CARD not in outcome.message


@ask_both_ways
def test_the_codes_of_a_decline(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """Each code of the provider's table becomes the normalised one with its category."""
    for theirs, (code, category) in fixture.subject.codes.items():
        fixture.provider_says("declined", theirs, reference="X-42")
        assert ask(fixture.gateway, order()) == Declined(code, category, f"Declined: {code.replace('_', ' ')}.", "X-42")


@ask_by_lookup
def test_never_received(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """The provider's own word for "never seen" is NotReceived for a lookup."""
    status, body = fixture.subject.not_found
    fixture.peer.behave = answers(status, body, fixture.subject.media_type)
    assert ask(fixture.gateway, order()) == NotReceived()


def test_never_received_is_no_answer_to_a_submission(fixture: Fixture, order: Orders) -> None:
    """A provider that has just been asked to act cannot say that it never was."""
    status, body = fixture.subject.not_found
    fixture.peer.behave = answers(status, body, fixture.subject.media_type)
    with pytest.raises(OutcomeUnknownError):
        fixture.gateway.submit(order())


@ask_both_ways
def test_a_missing_content_type_is_fine(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """The body decides; a provider that names no type has not said another one."""
    fixture.peer.behave = answers(200, fixture.subject.response_body("success", None, "X-1"), "")
    assert ask(fixture.gateway, order()) == Approved("X-1", final=True)


# --- everything else is unknown ---


@ask_both_ways
@pytest.mark.parametrize("status", [201, 202, 203, 206, 300, 301, 302, 303, 307, 308])
def test_only_200_says_anything(fixture: Fixture, order: Orders, ask: Ask, status: int) -> None:
    """With any other status even a perfect body says nothing; no redirect is followed, nothing sent again."""
    fixture.peer.behave = answers(
        status, fixture.subject.response_body("success", None, "X-1"), fixture.subject.media_type, Location="/elsewhere"
    )
    with pytest.raises(OutcomeUnknownError, match=f"answered with status {status}$"):
        ask(fixture.gateway, order())
    assert len(fixture.peer.requests) == 1


@ask_both_ways
@pytest.mark.parametrize("said", ["success", "pending", "declined"])
def test_every_4xx_and_5xx(fixture: Fixture, order: Orders, ask: Ask, said: str) -> None:
    """Each may come after the effect, whatever its body tells; but for those that the gateway's own table lists.

    A listed one promises that the provider did nothing, which is "not sent" for a submission; to a lookup it says
    nothing, for that was about another request.
    """
    body = fixture.subject.response_body(said, next(iter(fixture.subject.codes)), "X-1")
    for status in range(400, 600):
        fixture.peer.behave = answers(status, body, fixture.subject.media_type, Retry_After="1")
        listed = status in fixture.subject.not_executed and ask is ASKS["submit"]
        with pytest.raises(NotSentError if listed else OutcomeUnknownError, match=rf"answered (with status )?{status}"):
            ask(fixture.gateway, order())
    assert len(fixture.peer.requests) == 200


@ask_both_ways
def test_malformed_answers_are_unknown(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """What is not exactly an answer of the provider's says nothing, and never raises anything else."""
    for name, body in fixture.subject.malformed.items():
        fixture.peer.behave = answers(200, body, fixture.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"{name}: {ask(fixture.gateway, order())}")


@ask_both_ways
@pytest.mark.parametrize("status", ["", "ok", "not_found", "completed", "failed", "Success", " success"])
def test_foreign_statuses_are_unknown(fixture: Fixture, order: Orders, ask: Ask, status: str) -> None:
    """A status that the contract does not list may mean anything; "not found" under a reference is nonsense."""
    fixture.provider_says(status)
    with pytest.raises(OutcomeUnknownError):
        ask(fixture.gateway, order())


@ask_both_ways
def test_another_content_type_is_unknown(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """A page of a proxy is no answer of the provider, whatever stands in it."""
    body = fixture.subject.response_body("success", None, "X-1")
    for foreign in fixture.subject.foreign_media_types:
        fixture.peer.behave = answers(200, body, foreign)
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"{foreign}: {ask(fixture.gateway, order())}")
    two = answers(200, body, f"{fixture.subject.media_type}; charset=utf-8", content_type="text/html")
    fixture.peer.behave = two
    with pytest.raises(OutcomeUnknownError):
        ask(fixture.gateway, order())


@ask_by_lookup
def test_another_404_is_unknown(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """A lookup that is answered 404 by somebody else, such as a proxy, does not mean "never received"."""
    bodies = [b"", b"Not Found", b"{}", b'{"error": "no_route"}', b'{"error": "not_found", "error": 1}', b"<a/>"]
    if fixture.subject.not_found[0] != 404:
        bodies.append(fixture.subject.not_found[1])
    for body in bodies:
        fixture.peer.behave = answers(404, body, fixture.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            ask(fixture.gateway, order())


@ask_by_lookup
def test_half_of_never_received_is_unknown(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """The provider's word for "never seen" counts whole, in its own content type and with its own status alone."""
    status, body = fixture.subject.not_found
    for behave in (
        answers(status, body, "text/html"),
        answers(503, body, fixture.subject.media_type),
        answers(status, body[:-1], fixture.subject.media_type),
        answers(status, body * 2, fixture.subject.media_type),
    ):
        fixture.peer.behave = behave
        with pytest.raises(OutcomeUnknownError):
            ask(fixture.gateway, order())


# --- what is sent ---


def test_a_repetition_is_the_same_request(fixture: Fixture, order: Orders) -> None:
    """Sent again, an order goes out with the very same reference, key and body."""
    fixture.provider_says("success")
    again = order(note="ä\u2028")
    fixture.gateway.submit(again)
    fixture.gateway.submit(again)
    once, twice = fixture.peer.requests
    assert once == twice
    assert again.transaction_id.encode() in once.body


@ask_both_ways
def test_errors_hold_nothing_confidential(fixture: Fixture, order: Orders, ask: Ask) -> None:
    """Neither what we sent nor what came back stands in the text of an error, nor in those behind it."""
    for behave in (
        answers(500, CARD.encode(), fixture.subject.media_type),
        answers(200, CARD.encode(), fixture.subject.media_type),
        answers(200, fixture.subject.response_body(CARD, CARD, CARD), fixture.subject.media_type),
        answers(404, CARD.encode(), fixture.subject.media_type),
        sends_and_closes(CARD.encode()),
    ):
        fixture.peer.behave = behave
        with pytest.raises(GatewayError) as caught:
            ask(fixture.gateway, order(secret="s3cr3t"))
        error: BaseException | None = caught.value
        while error is not None:
            assert CARD not in str(error)
            assert "s3cr3t" not in str(error)
            error = error.__cause__ or error.__context__


def test_facts(fixture: Fixture, order: Orders) -> None:
    """The facts that others rely on fit together."""
    gateway = fixture.gateway
    assert gateway.name == "subject"
    assert gateway.currencies
    assert gateway.honours_keys is (gateway.idempotency_window_s > 0)
    if not gateway.looks_up:
        with pytest.raises(OutcomeUnknownError):
            gateway.lookup(order())
        assert not fixture.peer.requests
