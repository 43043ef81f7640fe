"""No adapter returns a card number of its provider, in any text; all other texts are unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.cards import holds_card, masked
from domain.gateway_report import TEXT_MAX
from domain.money import Money
from domain.outcomes import (
    Approved,
    Authorization,
    Category,
    Declined,
    GatewayError,
    NotReceived,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
)
from gateways.masking import MaskedGateway, kept
from gateways.port import (
    Acceptance,
    Callbacks,
    Notice,
    Order,
    RawMembers,
    SignatureInvalidError,
    UnusablePayload,
    WebhookPayload,
)
from tests.gateway_facts import SameForAll
from tests.gateways.callback_signers import MEMBERS, Signer, read_signed
from tests.gateways.callback_signers import verified as event_id_of
from tests.gateways.contract import Call, Fixture, Orders, by_submit_and_lookup
from tests.gateways.subjects import GATEWAY_A, SUBJECTS, Subject

CARD, MASKED = "4111111111111111", "411111******1111"
OTHER, OTHER_MASKED = "4111-1199-9999-1116", "4111-11**-****-1116"
NOW = datetime.fromtimestamp(1_700_000_000, UTC)


class FixedGateway(SameForAll):
    """A gateway with a fixed answer or error."""

    name, currencies = "inner", frozenset({"USD"})
    callbacks: Callbacks | None = None

    def __init__(self, answer: Outcome | NotReceived | GatewayError, form: str | None = None) -> None:
        self.answer = answer
        self.reference_form = None if form is None else re.compile(form)
        self.closed = False

    def submit(self, _order: Order) -> Outcome:
        """Return the answer."""
        outcome = self.lookup(_order)
        assert not isinstance(outcome, NotReceived)
        return outcome

    def lookup(self, _order: Order) -> Outcome | NotReceived:
        """Return the answer."""
        if isinstance(self.answer, GatewayError):
            raise self.answer
        return self.answer

    def close(self) -> None:
        """Record the call."""
        self.closed = True


@by_submit_and_lookup
@pytest.mark.parametrize("status", ["success", "pending", "declined"])
def test_a_reference_that_reads_as_a_card_number(fixture: Fixture, order: Orders, call: Call, status: str) -> None:
    """A reference that reads as a card number is masked, and the response counts."""
    fixture.provider_answers(status, reference=CARD)
    outcome = call(fixture.gateway, order())
    assert isinstance(outcome, Approved | Declined)
    assert outcome.reference is not None
    assert re.fullmatch(rf"{re.escape(MASKED)}(~[a-p]{{16}})?", outcome.reference)


@by_submit_and_lookup
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Approved(CARD, final=True), Approved(MASKED, final=True)),
        (
            Declined(f"c{CARD}", Category.SOFT, f"No: {OTHER}.", CARD),
            Declined(f"c{MASKED}", Category.SOFT, f"No: {OTHER_MASKED}.", MASKED),
        ),
        (Declined("declined", None, "No."), Declined("declined", None, "No.")),
        (Authorization(CARD), Authorization(MASKED)),
    ],
)
def test_every_text_of_an_outcome_is_masked(order: Orders, call: Call, given: Outcome, expected: object) -> None:
    """Card numbers are masked in every text of an outcome."""
    assert call(MaskedGateway(FixedGateway(given), []), order()) == expected


@by_submit_and_lookup
@pytest.mark.parametrize("kind", [NotSentError, OutcomeUnknownError])
def test_errors_are_masked(order: Orders, call: Call, kind: type[GatewayError]) -> None:
    """An error keeps its class. Neither its text nor its causes contain the number."""
    with pytest.raises(kind) as raised:
        call(MaskedGateway(FixedGateway(kind(f"said {CARD}")), []), order())
    assert str(raised.value) == f"said {MASKED}"
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_closing_closes_the_adapter() -> None:
    """Closing a masked gateway closes its adapter."""
    inner = FixedGateway(NotReceived())
    MaskedGateway(inner, []).close()
    assert inner.closed


@pytest.fixture(params=[subject for subject in SUBJECTS if subject.signer], ids=lambda subject: subject.adapter)
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each subject with callbacks."""
    found: Subject = request.param
    return found


def verified(subject: Subject, event_id: str, live: tuple[int, int], signed_by: int) -> str:
    """The event id of a callback when some of the signer's secrets are live."""
    signer: Signer | None = subject.signer
    assert signer is not None
    gateway = subject.gateway("http://127.0.0.1:9/", secrets=signer.secrets[live[0] : live[1]])
    assert gateway.callbacks is not None
    headers = signer.headers(signer.secrets[signed_by], event_id, "1700000000", b"body")
    try:
        return event_id_of(gateway.callbacks, headers, b"body", NOW)
    finally:
        gateway.close()


def test_masked_event_ids_stay_distinct(subject: Subject) -> None:
    """An event id that reads as a card number becomes a code, which is equal only for the same id and key."""
    plain = verified(subject, "evt-1", (0, 2), 0)
    assert plain == "evt-1"
    codes = [verified(subject, event_id, (0, 2), 0) for event_id in (CARD, "4111111111291111", "4111111111371111")]
    assert len({*codes}) == 3
    assert all(code.startswith("coded-") and CARD not in code for code in codes)
    assert verified(subject, CARD, (0, 2), 0) == codes[0]
    assert verified(subject, CARD, (0, 1), 0) != codes[0]


def test_a_repetition_has_the_same_code_during_a_change_of_secrets(subject: Subject) -> None:
    """Signed with the old or the new secret, before and after the new one is added, a repeated id has one code."""
    before = verified(subject, CARD, (1, 2), 1)
    assert verified(subject, CARD, (0, 2), 1) == verified(subject, CARD, (0, 2), 0) == before


def test_members_of_a_callback_are_masked(subject: Subject) -> None:
    """References are masked. The amount and the outcome are unchanged."""
    assert subject.signer is not None
    gateway = subject.gateway("http://127.0.0.1:9/", secrets=subject.signer.secrets)
    assert gateway.callbacks is not None
    body = subject.signer.body({**MEMBERS, "gateway_reference": CARD, "reference": OTHER})
    payload = read_signed(subject.signer, gateway.callbacks, body)
    assert isinstance(payload, WebhookPayload)
    assert payload.reference == OTHER_MASKED
    assert re.fullmatch(rf"{re.escape(MASKED)}~[a-p]{{16}}", payload.gateway_reference)
    assert payload.outcome == Approved(payload.gateway_reference, final=True)
    assert payload.money.text == MEMBERS["amount"]
    assert payload.raw.reference == OTHER_MASKED
    assert payload.raw.gateway_reference == payload.gateway_reference
    unusable = read_signed(subject.signer, gateway.callbacks, f'{{"card": {CARD}'.encode())
    assert isinstance(unusable, UnusablePayload)
    assert CARD not in unusable.problem
    gateway.close()


@pytest.mark.parametrize("member", list(MEMBERS))
def test_members_of_an_unusable_callback_are_masked(subject: Subject, member: str) -> None:
    """Each member for operators is masked, also if it has another type or is cut."""
    assert subject.signer is not None
    gateway = subject.gateway("http://127.0.0.1:9/", secrets=subject.signer.secrets)
    assert gateway.callbacks is not None
    for value in (
        f"card {CARD}",
        int(CARD),
        f"{'x' * 240} {CARD}",
        f"{' ' * (TEXT_MAX - 16)}{CARD}1111",
        f"a \0{CARD}",
    ):
        body = subject.signer.body({**MEMBERS, "status": "odd", member: value})
        shown = read_signed(subject.signer, gateway.callbacks, body)
        assert isinstance(shown, UnusablePayload)
        assert CARD not in repr(shown)
        for text in shown.raw:
            assert text is None or not holds_card(text)
    gateway.close()


def test_masked_references_stay_distinct(order: Orders) -> None:
    """Equally masked references have different codes. The codes are stable while their secret is live."""
    alike = ("4000000000010001", "4000000000430001")
    assert masked(alike[0]) == masked(alike[1])
    old, new = b"k" * 32, b"n" * 32

    def reference_of(reference: str, keys: list[bytes]) -> str:
        outcome = MaskedGateway(FixedGateway(Approved(reference, final=True)), keys).lookup(order())
        assert isinstance(outcome, Approved)
        return outcome.reference

    one, other = (reference_of(reference, [old]) for reference in alike)
    assert one != other
    assert not holds_card(one)
    assert reference_of(alike[0], [new, old]) == reference_of(one, [new]) == one
    assert reference_of(alike[0], [new]) != one
    assert reference_of(alike[0], []) == masked(alike[0])
    assert reference_of("A-1", [old]) == "A-1"


@by_submit_and_lookup
def test_a_reference_of_the_declared_form_is_whole(order: Orders, call: Call) -> None:
    """It must be sent back to the provider. Others, and all other texts, are masked as usual."""
    form = "[0-9]{16}"
    told = Declined(f"c{CARD}", None, CARD, CARD)
    shown = call(MaskedGateway(FixedGateway(told, form), []), order())
    assert shown == Declined(f"c{MASKED}", None, MASKED, CARD)
    assert call(MaskedGateway(FixedGateway(Approved(CARD, final=True), form), []), order()) == Approved(
        CARD, final=True
    )
    assert call(MaskedGateway(FixedGateway(Authorization(f"x{CARD}"), form), []), order()) == Authorization(
        f"x{MASKED}"
    )


class FixedCallbacks:
    """Callbacks with fixed notices, and an answer of their own."""

    acceptance = Acceptance(202, "text/plain", b"[accepted]")

    def __init__(self, *notices: Notice) -> None:
        self._notices = notices

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Notice]:  # noqa: ARG002  # the port's names
        """Return the notices."""
        if body != b"signed":
            raise SignatureInvalidError(f"no signature of {CARD}")
        return self._notices


def test_every_notice_of_a_callback_is_masked() -> None:
    """Each has its own event id, its body without card numbers, and a reference of the declared form as it is."""
    money = Money(1, "USD")
    raw = RawMembers("r-1", CARD, "completed", "0.01", "USD")
    payload = WebhookPayload("r-1", CARD, money, Approved(CARD, final=True), raw)
    gateway = FixedGateway(NotReceived(), "[0-9]{16}")
    gateway.callbacks = FixedCallbacks(
        Notice("evt-1", b"one", payload),
        Notice(CARD, f"n={CARD}".encode(), UnusablePayload(f"it has {CARD}", CARD, raw)),
    )
    callbacks = MaskedGateway(gateway, [b"k" * 32]).callbacks
    assert callbacks is not None
    assert callbacks.acceptance == Acceptance(202, "text/plain", b"[accepted]")
    first, second = callbacks.read({}, b"signed", NOW)
    assert first == Notice("evt-1", b"one", payload)
    assert second.event_id.startswith("coded-")
    assert second.body == f"n={MASKED}".encode()
    assert second.payload == UnusablePayload(f"it has {MASKED}", MASKED, raw)
    with pytest.raises(SignatureInvalidError, match=re.escape(f"no signature of {MASKED}")):
        callbacks.read({}, b"other", NOW)


def bodies() -> Iterator[tuple[str, bytes, bytes]]:
    """Names of bodies, the bodies, and their stored forms."""
    yield (
        "a text",
        f'{{"a":  "x {OTHER}", "amount": "10.00"}}'.encode(),
        f'{{"a":  "x {OTHER_MASKED}", "amount": "10.00"}}'.encode(),
    )
    yield "a number", f'{{"n":{CARD}}}'.encode(), f'{{"n":"{MASKED}"}}'.encode()
    yield "numbers", b'{"n": [4111,1111, 1111 ,1111,-5e3]}', b'{"n": [4111,"11**", "****" ,1111,-5e3]}'
    yield "a fraction", b'{"a\\"": "1*2", "n":4111111111.111111}', b'{"a\\"": "1*2", "n":"411111****.**1111"}'
    yield "letters around", f'{{"a": "c{CARD}x"}}'.encode(), f'{{"a": "c{MASKED}x"}}'.encode()
    yield "XML", f"<a>{CARD}</a>".encode(), f"<a>{MASKED}</a>".encode()
    yield "a number in what is no JSON", f'{{"n":{CARD}'.encode(), f'{{"n":{MASKED}'.encode()
    yield "colons", b"4111:1111:1111:1111", b"4111:11**:****:1111"
    yield "no JSON", b"\xff\xfe" + CARD.encode(), b"\xff\xfe" + MASKED.encode()
    yield (
        "escaped",
        f'{{"a":"{"".join(f"{chr(92)}u003{digit}" for digit in CARD)}"}}'.encode(),
        f'{{"a":"{MASKED}"}}'.encode(),
    )
    yield (
        "escaped separators",
        rb'{"a":"4111\t1111\u00091111\"1111 \u00e9\\u0041\n"}',
        r'{"a":"4111\t11**\u0009****\"1111 é\\u0041\n"}'.encode(),
    )
    yield "escaped in part", rb'{"a":"\u0034111\n1111\u00201111\/1111"}', rb'{"a":"4111\n11** ****/1111"}'
    wide = "\uff14" + "\uff11" * 15
    yield "wide", json.dumps({"a": wide}).encode(), f'{{"a": "{wide[:6]}******{wide[12:]}"}}'.encode()
    yield "UTF-16", f'"{CARD}"'.encode("utf-16-le"), f'"{MASKED}"'.encode()


@pytest.mark.parametrize(("body", "shown"), [each[1:] for each in bodies()], ids=[each[0] for each in bodies()])
def test_card_numbers_in_bodies_are_hidden(body: bytes, shown: bytes) -> None:
    """Only digits of card numbers change; everything else stays in its place."""
    assert kept(body) == shown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\xff\xfe",
        GATEWAY_A.response_body("success", None, "A-1"),
        b'{"id": 1764453088984581, "at": "2026-11-29T13:48:48Z", "amounts": [19.74, 4.01, 401.55, 1.95, 139.16]}',
        b'{"a": "\\u0034\\u00e9\\ud83d\\ude00\\ud800\\u0022\\n", "id": "4111111111111112"}',
        '{"name": "Jörg", "id": "01a20384-41d6-7fec-aa23-e22947e4a14e"}'.encode("utf-16"),
    ],
)
def test_other_bodies_are_kept_byte_for_byte(body: bytes) -> None:
    """Bodies without card numbers are unchanged, also with escapes or without valid text."""
    assert kept(body) == body


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_bytes_around_a_card_number_are_unchanged(before: bytes, behind: bytes) -> None:
    """Bytes that are not UTF-8 are kept as well."""
    before, behind = before.replace(b"\0", b"") + b"x\xff", b"\xffx" + behind.replace(b"\0", b"")
    assert kept(before + CARD.encode() + behind) == kept(before) + MASKED.encode() + kept(behind)


values = st.recursive(
    st.one_of(
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.text(max_size=8),
        st.sampled_from([int(CARD), CARD, OTHER, 4111, 1111, "4\t1", 411111.1111111111]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)


@given(values, st.booleans())
def test_json_remains_valid(value: object, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    """The stored form of JSON is valid JSON without a card number."""
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if b"\xed" not in body:  # lone surrogates are not UTF-8
        json.loads(kept(body))
    assert kept(kept(body)) == kept(body)
