"""The contract of every adapter, whatever the wording of its provider: run against each subject over real HTTP.

Failures of connections are in test_contract_connections.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.events import Kind
from domain.outcomes import (
    AUTHORIZATION_GONE,
    Approved,
    Authorization,
    Declined,
    GatewayError,
    NotReceived,
    NotSentError,
    OutcomeUnknownError,
)
from gateways.port import LookupMeans
from tests.gateways.contract import CALLS, Call, Fixture, Orders, by_lookup, by_submit_and_lookup
from tests.gateways.peer import answers, sends_and_closes
from tests.gateways.subjects import SUBJECTS

holding = pytest.mark.parametrize(
    "fixture", [each for each in SUBJECTS if each.holds], ids=lambda subject: subject.adapter, indirect=True
)
CARD = "4111111111111111"  # sent by a faulty provider; must not appear in any result


# --- definite answers ---


@by_submit_and_lookup
@pytest.mark.parametrize(("status", "final"), [("success", True), ("pending", False)])
def test_approved(fixture: Fixture, order: Orders, *, call: Call, status: str, final: bool) -> None:
    """Success is final and pending is not, for every operation. Both have the provider's reference."""
    fixture.provider_answers(status, reference="X-42")
    for kind in fixture.gateway.operations:
        assert call(fixture.gateway, order(kind=kind)) == Approved("X-42", final=final)


@by_submit_and_lookup
@holding
@pytest.mark.parametrize("status", ["success", "authorized"])
def test_a_hold(fixture: Fixture, order: Orders, *, call: Call, status: str) -> None:
    """For a deposit with manual capture both words mean that the money is held, and nothing has moved."""
    fixture.provider_answers(status, reference="X-42")
    assert call(fixture.gateway, replace(order(), manual_capture=True)) == Authorization("X-42")


@by_submit_and_lookup
@pytest.mark.parametrize("status", ["authorized", "expired", "cancelled"])
def test_a_status_of_holds_only(fixture: Fixture, order: Orders, *, call: Call, status: str) -> None:
    """Where nothing was to be held, the status of a hold is unknown."""
    fixture.provider_answers(status)
    for kind in fixture.gateway.operations:
        with pytest.raises(OutcomeUnknownError):
            call(fixture.gateway, order(kind=kind))


@by_submit_and_lookup
@holding
@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_a_hold_that_ended(fixture: Fixture, order: Orders, *, call: Call, status: str) -> None:
    """A hold that expired or was cancelled is a decline with the code that ends an authorization."""
    fixture.provider_answers(status, reference="X-42")
    outcome = call(fixture.gateway, replace(order(), manual_capture=True))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.category, outcome.reference) == (f"authorization_{status}", None, "X-42")
    assert outcome.code in AUTHORIZATION_GONE


@by_submit_and_lookup
@holding
def test_a_hold_that_is_pending(fixture: Fixture, order: Orders, call: Call) -> None:
    """It is accepted, and not held yet. A decline is a decline."""
    fixture.provider_answers("pending", reference="X-42")
    held = replace(order(), manual_capture=True)
    assert call(fixture.gateway, held) == Approved("X-42", final=False)
    fixture.provider_answers("declined")
    assert isinstance(call(fixture.gateway, held), Declined)


@by_submit_and_lookup
def test_a_decline_is_a_value(fixture: Fixture, order: Orders, call: Call) -> None:
    """A well-formed decline is a value and not an error, even without a code."""
    fixture.provider_answers("declined", reference="X-42")
    assert call(fixture.gateway, order()) == Declined("declined", None, "Declined without a code.", "X-42")


@by_submit_and_lookup
@pytest.mark.parametrize("code", ["~" * 10, f"card {CARD}", CARD, "ä", "A\nB"])
def test_a_decline_does_not_repeat_a_malformed_code(fixture: Fixture, order: Orders, call: Call, code: str) -> None:
    """A malformed code is still a decline, and its text does not appear in the result."""
    fixture.provider_answers("declined", code)
    outcome = call(fixture.gateway, order())
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.category) == ("declined", None)
    assert CARD not in outcome.message


@by_submit_and_lookup
def test_the_codes_of_a_decline(fixture: Fixture, order: Orders, call: Call) -> None:
    """Each code of the provider's table becomes the normalised code with its category."""
    for theirs, (code, category) in fixture.subject.codes.items():
        fixture.provider_answers("declined", theirs, reference="X-42")
        assert call(fixture.gateway, order()) == Declined(
            code, category, f"Declined: {code.replace('_', ' ')}.", "X-42"
        )


@by_lookup
def test_never_received(fixture: Fixture, order: Orders, call: Call) -> None:
    """The provider's complete "not found" response is NotReceived, for a lookup."""
    status, body = fixture.subject.not_found
    fixture.peer.behave = answers(status, body, fixture.subject.media_type)
    assert call(fixture.gateway, order()) == NotReceived()


def test_never_received_is_no_answer_to_a_submission(fixture: Fixture, order: Orders) -> None:
    """The "not found" response to a submission is contradictory, so the outcome is unknown."""
    status, body = fixture.subject.not_found
    fixture.peer.behave = answers(status, body, fixture.subject.media_type)
    with pytest.raises(OutcomeUnknownError):
        fixture.gateway.submit(order())


@by_submit_and_lookup
def test_a_missing_content_type_is_accepted(fixture: Fixture, order: Orders, call: Call) -> None:
    """A response without a content type is parsed by its body."""
    fixture.peer.behave = answers(200, fixture.subject.response_body("success", None, "X-1"), "")
    assert call(fixture.gateway, order()) == Approved("X-1", final=True)


# --- everything else is unknown ---


@by_submit_and_lookup
@pytest.mark.parametrize("status", [201, 202, 203, 206, 300, 301, 302, 303, 307, 308])
def test_only_status_200_has_an_outcome(fixture: Fixture, order: Orders, call: Call, status: int) -> None:
    """With any other status even a correct body is no outcome. No redirect is followed, and nothing is sent again."""
    fixture.peer.behave = answers(
        status, fixture.subject.response_body("success", None, "X-1"), fixture.subject.media_type, Location="/elsewhere"
    )
    with pytest.raises(OutcomeUnknownError, match=f"answered with status {status}$"):
        call(fixture.gateway, order())
    assert len(fixture.peer.requests) == 1


@by_submit_and_lookup
@pytest.mark.parametrize("status_word", ["success", "pending", "declined"])
def test_every_4xx_and_5xx_is_unknown_unless_listed(
    fixture: Fixture, order: Orders, call: Call, status_word: str
) -> None:
    """Such a status may follow the effect, whatever the body, unless the gateway's own table lists it.

    A listed status guarantees that the provider did nothing: "not sent" for a submission. For a lookup it is unknown,
    because it does not describe the order.
    """
    body = fixture.subject.response_body(status_word, next(iter(fixture.subject.codes)), "X-1")
    for status in range(400, 600):
        fixture.peer.behave = answers(status, body, fixture.subject.media_type, Retry_After="1")
        listed = status in fixture.subject.not_executed and call is CALLS["submit"]
        with pytest.raises(NotSentError if listed else OutcomeUnknownError, match=rf"answered (with status )?{status}"):
            call(fixture.gateway, order())
    assert len(fixture.peer.requests) == 200


@by_submit_and_lookup
def test_malformed_answers_are_unknown(fixture: Fixture, order: Orders, call: Call) -> None:
    """A malformed body gives an unknown outcome, and never another exception."""
    for name, body in fixture.subject.malformed.items():
        fixture.peer.behave = answers(200, body, fixture.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"{name}: {call(fixture.gateway, order())}")


@by_submit_and_lookup
@pytest.mark.parametrize("status", ["", "ok", "not_found", "completed", "failed", "Success", " success"])
def test_foreign_statuses_are_unknown(fixture: Fixture, order: Orders, call: Call, status: str) -> None:
    """A status outside of the contract is unknown. So is "not found" together with a reference."""
    fixture.provider_answers(status)
    with pytest.raises(OutcomeUnknownError):
        call(fixture.gateway, order())


@by_submit_and_lookup
def test_another_content_type_is_unknown(fixture: Fixture, order: Orders, call: Call) -> None:
    """A response with another content type, such as a proxy's page, is unknown whatever its body."""
    body = fixture.subject.response_body("success", None, "X-1")
    for foreign in fixture.subject.foreign_media_types:
        fixture.peer.behave = answers(200, body, foreign)
        with pytest.raises(OutcomeUnknownError):
            pytest.fail(f"{foreign}: {call(fixture.gateway, order())}")
    two = answers(200, body, f"{fixture.subject.media_type}; charset=utf-8", content_type="text/html")
    fixture.peer.behave = two
    with pytest.raises(OutcomeUnknownError):
        call(fixture.gateway, order())


@by_lookup
def test_another_404_is_unknown(fixture: Fixture, order: Orders, call: Call) -> None:
    """A 404 of another program, such as a proxy, does not mean "never received"."""
    bodies = [b"", b"Not Found", b"{}", b'{"error": "no_route"}', b'{"error": "not_found", "error": 1}', b"<a/>"]
    if fixture.subject.not_found[0] != 404:
        bodies.append(fixture.subject.not_found[1])
    for body in bodies:
        fixture.peer.behave = answers(404, body, fixture.subject.media_type)
        with pytest.raises(OutcomeUnknownError):
            call(fixture.gateway, order())


@by_lookup
def test_an_incomplete_not_found_is_unknown(fixture: Fixture, order: Orders, call: Call) -> None:
    """Status, content type and body must all be those of the provider's "not found" response."""
    status, body = fixture.subject.not_found
    for behave in (
        answers(status, body, "text/html"),
        answers(503, body, fixture.subject.media_type),
        answers(status, body[:-1], fixture.subject.media_type),
        answers(status, body * 2, fixture.subject.media_type),
    ):
        fixture.peer.behave = behave
        with pytest.raises(OutcomeUnknownError):
            call(fixture.gateway, order())


# --- what is sent ---


def test_a_repetition_is_the_same_request(fixture: Fixture, order: Orders) -> None:
    """A repeated order has the same reference, key and body."""
    fixture.provider_answers("success")
    again = order(note="ä\u2028")
    fixture.gateway.submit(again)
    fixture.gateway.submit(again)
    once, twice = fixture.peer.requests
    assert once == twice
    assert again.transaction_id.encode() in once.body


@by_submit_and_lookup
def test_errors_hold_nothing_confidential(fixture: Fixture, order: Orders, call: Call) -> None:
    """Neither errors nor their causes contain what was sent or received."""
    for behave in (
        answers(500, CARD.encode(), fixture.subject.media_type),
        answers(200, CARD.encode(), fixture.subject.media_type),
        answers(200, fixture.subject.response_body(CARD, CARD, CARD), fixture.subject.media_type),
        answers(404, CARD.encode(), fixture.subject.media_type),
        sends_and_closes(CARD.encode()),
    ):
        fixture.peer.behave = behave
        with pytest.raises(GatewayError) as caught:
            call(fixture.gateway, order(secret="s3cr3t"))
        error: BaseException | None = caught.value
        while error is not None:
            assert CARD not in str(error)
            assert "s3cr3t" not in str(error)
            error = error.__cause__ or error.__context__


def test_facts(fixture: Fixture, order: Orders) -> None:
    """The gateway's facts do not contradict each other."""
    gateway = fixture.gateway
    assert gateway.name == "subject"
    assert gateway.currencies
    assert gateway.operations
    for kind, facts in gateway.operations.items():
        assert facts.honours_keys is (facts.key_window_s > 0)
        assert facts.honours_keys or facts.lookup is not LookupMeans.REPEAT
        if facts.lookup is not LookupMeans.QUERY:
            with pytest.raises(OutcomeUnknownError):
                gateway.lookup(order(kind=kind))
            assert not fixture.peer.requests
    assert gateway.holds is fixture.subject.holds
    assert not gateway.holds or {Kind.DEPOSIT, Kind.CAPTURE} <= gateway.operations.keys()
