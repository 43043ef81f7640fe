"""Events as bytes: they read back unchanged, and their canonical form never changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import (
    EVENT_TYPES,
    Authorized,
    BalanceAdjusted,
    Completed,
    Event,
    Failed,
    Kind,
    OutcomeUnknown,
    Processed,
    Received,
    Recorded,
    ReviewClosed,
    ReviewOpened,
    Submitted,
    Voided,
    type_name,
)
from domain.gateway_report import Expected, GatewayReport, Source
from domain.money import EXPONENTS, Money
from domain.outcomes import Category
from store.codec import Metadata, chain, decode, encode, read_body, timestamp
from store.errors import CorruptStoreError
from store.port import GENESIS, Head, StreamKey

STREAM = StreamKey("main", "customer-1")
AT = datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=UTC)
FULL_REPORT = GatewayReport(
    Source.CALLBACK, "gA", AT, "evt", "t1", "A-2", "odd", "c", "2", "EUR", "m", body="é\\u0000", body_bytes=9
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
amounts = st.builds(Money, st.integers(1, 10**12), st.sampled_from(sorted(EXPONENTS)))
# Hypothesis requires bounds without a time zone.
times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
kinds = st.sampled_from(Kind)
maybe = st.none() | texts
details = st.dictionaries(texts, texts, max_size=4)
no = st.just(value=False)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Received, st.just(Kind.DEPOSIT), texts, texts, amounts, details, no, st.booleans()),
    st.builds(Received, st.just(Kind.WITHDRAWAL), texts, texts, amounts, details, st.booleans()),
    st.builds(
        Received, st.just(Kind.REFUND), texts, texts, amounts, st.just({}), st.booleans(), no, texts, texts, maybe
    ),
    st.builds(
        Received,
        st.sampled_from([Kind.CAPTURE, Kind.VOID]),
        *(texts, texts, amounts, st.just({}), no, no, texts, texts),
    ),
    st.builds(Submitted, kinds, texts, st.integers(1, 2**31)),
    st.builds(OutcomeUnknown, kinds, texts, texts),
    st.builds(Processed, kinds, texts, maybe),
    st.builds(Authorized, st.just(Kind.DEPOSIT), texts, maybe, times),
    st.builds(Completed, kinds, texts),
    st.builds(Completed, st.just(Kind.DEPOSIT), texts, amounts),
    st.builds(Voided, st.just(Kind.DEPOSIT), texts),
    st.builds(Failed, kinds, texts, texts, st.sampled_from([None, *Category]), texts, maybe),
    st.builds(BalanceAdjusted, texts, amounts, texts, texts),
    st.builds(ReviewOpened, texts, maybe, texts),
    st.builds(ReviewClosed, texts, texts),
)
metadata = st.builds(Metadata, texts, st.none() | texts, st.none() | texts, st.none() | texts)


@given(events, times, st.integers(1, 2**40), metadata)
def test_an_event_reads_back_as_it_was(event: Event, at: datetime, version: int, about: Metadata) -> None:
    """Every event of every type survives its bytes, and the bytes alone contain all of its data."""
    recorded = Recorded(version, at, event, about.correlation_id)
    stored = encode(STREAM, Head(version - 1, b"x" * 32), recorded, "event-1", about)
    assert decode(stored.body) == recorded
    body = read_body(stored.body)
    assert (body.event_id, body.stream, body.version, body.type) == ("event-1", STREAM, version, type_name(event))
    assert (stored.event_id, stored.version, stored.type) == ("event-1", version, type_name(event))
    assert Metadata(**body.metadata) == about


@given(events, times, metadata)
def test_the_bytes_are_canonical(event: Event, at: datetime, about: Metadata) -> None:
    """The bytes are JSON with sorted keys and no white space, the same as from any other writer of canonical JSON."""
    body = encode(STREAM, Head(), Recorded(1, at, event), "event-1", about).body
    assert json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == body


@given(st.lists(events, min_size=1, max_size=5))
def test_hashes_chain(chained: list[Event]) -> None:
    """Each hash is SHA-256 over the hash before it and the event's bytes; the first continues 32 zero bytes."""
    head = Head()
    before = GENESIS
    for event in chained:
        stored = encode(STREAM, head, Recorded(head.version + 1, AT, event), "e", Metadata("c"))
        assert stored.hash == sha256(before + stored.body).digest() == chain(before, stored.body)
        before, head = stored.hash, Head(stored.version, stored.hash)


GOLDEN: list[tuple[Event, str]] = [
    (
        Received(Kind.DEPOSIT, "t1", "gA", Money(100_00, "USD"), {"z": "é\n", "a": "1"}),
        (
            '"data":{"amount":"100.00","currency":"USD","details":{"a":"1","z":"é\\n"},"gateway":"gA",'
            '"transaction_id":"t1"},"type":"DepositReceived"'
        ),
    ),
    (
        Received(Kind.WITHDRAWAL, "t1", "gA", Money(5, "JPY"), {}, reserved=True),
        (
            '"data":{"amount":"5","currency":"JPY","details":{},"gateway":"gA","reserved":true,'
            '"transaction_id":"t1"},"type":"WithdrawalReceived"'
        ),
    ),
    (
        Received(Kind.DEPOSIT, "t1", "gA", Money(100_00, "USD"), {}, manual_capture=True),
        (
            '"data":{"amount":"100.00","capture":"manual","currency":"USD","details":{},"gateway":"gA",'
            '"transaction_id":"t1"},"type":"DepositReceived"'
        ),
    ),
    (
        Received(Kind.REFUND, "t2", "gA", Money(5, "JPY"), {}, parent_id="t1", parent_reference="A-1", reason="late"),
        (
            '"data":{"amount":"5","currency":"JPY","details":{},"gateway":"gA","parent_id":"t1",'
            '"parent_reference":"A-1","reason":"late","reserved":false,"transaction_id":"t2"},"type":"RefundReceived"'
        ),
    ),
    (
        Received(Kind.CAPTURE, "t2", "gA", Money(5, "JPY"), {}, parent_id="t1", parent_reference="A-1"),
        (
            '"data":{"amount":"5","currency":"JPY","details":{},"gateway":"gA","parent_id":"t1",'
            '"parent_reference":"A-1","transaction_id":"t2"},"type":"CaptureReceived"'
        ),
    ),
    (
        Received(Kind.VOID, "t2", "gA", Money(5, "JPY"), {}, parent_id="t1", parent_reference="A-1"),
        (
            '"data":{"amount":"5","currency":"JPY","details":{},"gateway":"gA","parent_id":"t1",'
            '"parent_reference":"A-1","transaction_id":"t2"},"type":"VoidReceived"'
        ),
    ),
    (
        Authorized(Kind.DEPOSIT, "t1", "A-1", AT),
        (
            '"data":{"expires_at":"2026-11-01T12:00:00.000005Z","gateway_reference":"A-1",'
            '"transaction_id":"t1"},"type":"DepositAuthorized"'
        ),
    ),
    (
        Completed(Kind.DEPOSIT, "t1", Money(90_00, "USD")),
        '"data":{"captured_amount":"90.00","currency":"USD","transaction_id":"t1"},"type":"DepositCompleted"',
    ),
    (Voided(Kind.DEPOSIT, "t1"), '"data":{"transaction_id":"t1"},"type":"DepositVoided"'),
    (Submitted(Kind.DEPOSIT, "t1", 2), '"data":{"attempt":2,"transaction_id":"t1"},"type":"DepositSubmitted"'),
    (
        OutcomeUnknown(Kind.WITHDRAWAL, "t1", "timeout"),
        '"data":{"reason":"timeout","transaction_id":"t1"},"type":"WithdrawalOutcomeUnknown"',
    ),
    (
        Processed(Kind.DEPOSIT, "t1", "A-1"),
        '"data":{"gateway_reference":"A-1","transaction_id":"t1"},"type":"DepositProcessed"',
    ),
    (Completed(Kind.WITHDRAWAL, "t1"), '"data":{"transaction_id":"t1"},"type":"WithdrawalCompleted"'),
    (
        Failed(Kind.DEPOSIT, "t1", "expired_card", Category.HARD, "no"),
        '"data":{"category":"hard","code":"expired_card","message":"no","transaction_id":"t1"},"type":"DepositFailed"',
    ),
    (
        Failed(Kind.DEPOSIT, "t1", "discarded", None, "no"),
        '"data":{"category":null,"code":"discarded","message":"no","transaction_id":"t1"},"type":"DepositFailed"',
    ),
    (
        ReviewOpened("r1", None, "odd"),
        '"data":{"reason":"odd","review_id":"r1","transaction_id":null},"type":"ReviewOpened"',
    ),
    (
        ReviewOpened("r1", "t1", "odd", FULL_REPORT, Expected("gA", "processed", "1.00", "USD", "A-1")),
        (
            '"data":{"expected":{"amount":"1.00","currency":"USD","gateway":"gA","gateway_reference":"A-1",'
            '"status":"processed"},"reason":"odd","review_id":"r1","said":{"amount":"2","at":'
            '"2026-11-01T12:00:00.000005Z","body":"é\\\\u0000","body_bytes":9,"code":"c","currency":"EUR",'
            '"event_id":"evt","gateway":"gA","gateway_reference":"A-2","message":"m","reference":"t1",'
            '"source":"callback","status":"odd"},"transaction_id":"t1"},"type":"ReviewOpened"'
        ),
    ),
    (
        ReviewOpened("r1", None, "odd", GatewayReport(Source.LOOKUP, "gA", AT)),
        (
            '"data":{"reason":"odd","review_id":"r1","said":{"at":"2026-11-01T12:00:00.000005Z","gateway":"gA",'
            '"source":"lookup"},"transaction_id":null},"type":"ReviewOpened"'
        ),
    ),
    (
        BalanceAdjusted("a1", Money(-1050, "USD"), "r", "e"),
        '"data":{"adjustment_id":"a1","amount":"-10.50","currency":"USD","evidence":"e","reason":"r"},"type":"BalanceAdjusted"',
    ),
    (ReviewClosed("r1", "looked"), '"data":{"reason":"looked","review_id":"r1"},"type":"ReviewClosed"'),
]


@pytest.mark.parametrize(("event", "text"), GOLDEN)
def test_the_stored_form_never_changes(event: Event, text: str) -> None:
    """These bytes are on customers' disks and under their hashes. A new version must write and read exactly them."""
    data, type_ = text.rsplit(",", 1)
    about = Metadata("cor", "cau", "00-1-2-01", "someone")
    expected = (
        f'{{{data},"event_id":"e1","metadata":{{"causation_id":"cau","correlation_id":"cor",'
        f'"traceparent":"00-1-2-01","who":"someone"}},"occurred_at":"2026-11-01T12:00:00.000005Z",'
        f'"stream_id":"customer-1","stream_name":"main",{type_},"version":3}}'
    )
    assert encode(STREAM, Head(2, b"x" * 32), Recorded(3, AT, event), "e1", about).body.decode() == expected
    assert decode(expected.encode()) == Recorded(3, AT, event, "cor")


def test_every_type_has_its_stored_form() -> None:
    """The table above has every class of event."""
    assert {type(event) for event, _ in GOLDEN} == {cls for cls, _ in EVENT_TYPES.values()}
    received = {event.kind for event, _ in GOLDEN if isinstance(event, Received)}
    assert received == set(Kind)


def _changed(**fields: object) -> bytes:
    body = orjson.loads(encode(STREAM, Head(), Recorded(1, AT, GOLDEN[0][0]), "e", Metadata("c")).body)
    data = {**body["data"], **{key: value for key, value in fields.items() if key in body["data"]}}
    rest = {key: value for key, value in fields.items() if key not in body["data"]}
    whole = {**body, "data": data, **rest}
    return orjson.dumps({key: value for key, value in whole.items() if value is not ...})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        _changed(type="DepositEaten"),
        _changed(type=None),
        _changed(occurred_at="yesterday"),
        _changed(occurred_at=5),
        _changed(data=...),
        _changed(data=[]),
        _changed(amount="100"),
        _changed(amount="1OO.00"),
        _changed(amount=100),
        _changed(currency="ABC"),
        _changed(metadata=...),
        _changed(version=...),
        _changed(type="DepositFailed"),
    ],
)
def test_bytes_that_are_not_an_event_are_reported(body: bytes) -> None:
    """Bytes that are not an event of this version cause one kind of error, which is one of the store's."""
    with pytest.raises(CorruptStoreError):
        decode(body)


@pytest.mark.parametrize(
    "data",
    [
        {"said": None},
        {"said": []},
        {"said": {}},
        {"said": {"source": "rumour", "gateway": "gA", "at": "2026-11-01T12:00:00Z"}},
        {"said": {"source": "lookup", "gateway": "gA", "at": 5}},
        {"said": {"source": "lookup", "at": "2026-11-01T12:00:00Z"}},
        {"expected": None},
        {"expected": {"gateway": "gA"}},
    ],
)
def test_a_review_with_an_unreadable_report(data: dict[str, object]) -> None:
    """It is reported like any other unreadable event."""
    body = orjson.loads(
        encode(STREAM, Head(), Recorded(1, AT, ReviewOpened("r", None, "odd")), "e", Metadata("c")).body
    )
    with pytest.raises(CorruptStoreError):
        decode(orjson.dumps({**body, "data": {**body["data"], **data}}))


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (Received(Kind.DEPOSIT, "t", "g", Money(5, "JPY"), {}), {"capture": "automatic"}),
        (Received(Kind.DEPOSIT, "t", "g", Money(5, "JPY"), {}), {"capture": ["manual"]}),
        (Authorized(Kind.DEPOSIT, "t", None, AT), {"expires_at": None}),
        (Authorized(Kind.DEPOSIT, "t", None, AT), {"expires_at": "tomorrow"}),
        (Completed(Kind.DEPOSIT, "t"), {"captured_amount": "5"}),
        (Completed(Kind.DEPOSIT, "t"), {"captured_amount": "5.0", "currency": "JPY"}),
        (Completed(Kind.DEPOSIT, "t"), {"captured_amount": None, "currency": "JPY"}),
    ],
)
def test_an_authorization_that_cannot_be_read(event: Event, data: dict[str, object]) -> None:
    """A member that this version would misread is reported, not guessed."""
    body = orjson.loads(encode(STREAM, Head(), Recorded(1, AT, event), "e", Metadata("c")).body)
    with pytest.raises(CorruptStoreError):
        decode(orjson.dumps({**body, "data": {**body["data"], **data}}))


def test_unknown_members_of_an_event_are_ignored() -> None:
    """An event can be read when it holds a member that this version does not have."""
    event = ReviewOpened("r", None, "odd", FULL_REPORT)
    body = orjson.loads(encode(STREAM, Head(), Recorded(1, AT, event), "e", Metadata("c")).body)
    body["data"]["said"]["mood"] = "cheerful"
    assert decode(orjson.dumps(body)).event == event


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000000Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000000Z"),
        (datetime(987, 1, 2, tzinfo=UTC), "0987-01-02T00:00:00.000000Z"),
        (datetime(987, 1, 2, 2, tzinfo=timezone(timedelta(hours=2))), "0987-01-02T00:00:00.000000Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(at: datetime, text: str) -> None:
    """Times are printed in UTC with all microseconds, from any time zone."""
    assert timestamp(at) == text
