"""The contract of every adapter for callbacks: only unchanged callbacks with a valid signature are accepted."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from domain.gateway_report import TEXT_MAX, storable_text
from domain.money import Money
from domain.outcomes import Approved, Authorization, Declined
from gateways.port import Acceptance, Callbacks, SignatureInvalidError, UnusablePayload, WebhookPayload
from tests.gateways.callback_signers import MEMBERS, Signer, applied, payload_of, read_signed, shows, verified
from tests.gateways.subjects import SUBJECTS, Subject

NOW_S = 1_700_000_000
NOW = datetime.fromtimestamp(NOW_S, UTC)
EVENT_ID = "evt_1-a"

CALLERS = [subject for subject in SUBJECTS if subject.signer is not None]


@dataclass(frozen=True)
class Case:
    """A subject with callbacks, and its callbacks with two live secrets: the newest and the previous one."""

    signer: Signer
    callbacks: Callbacks

    @property
    def body(self) -> bytes:
        """A complete body."""
        return self.signer.body(MEMBERS)

    def headers(self, body: bytes, event_id: str = EVENT_ID, timestamp: str = str(NOW_S)) -> dict[str, str]:
        """Headers signed with the newest secret."""
        return self.signer.headers(self.signer.secrets[0], event_id, timestamp, body)

    def verify(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return the event id. Raises SignatureInvalidError."""
        return verified(self.callbacks, headers, body, NOW)

    def is_refused(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether verification fails, with an error that reveals nothing."""
        try:
            self.verify(headers, body)
        except SignatureInvalidError as error:
            self.reveals_nothing(error, [*headers.values(), body.decode("latin-1")])
            return True
        return False

    def reveals_nothing(self, error: BaseException, received: list[str]) -> None:
        """Whether ``error`` and its causes contain no secret and no longer part of what was received."""
        for text in (*self.signer.secrets, *received):
            assert len(text) < 8 or not shows(error, text)


@pytest.fixture(params=CALLERS, ids=lambda subject: subject.adapter)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A case of the contract suite for each subject with callbacks."""
    subject: Subject = request.param
    assert subject.signer is not None
    gateway = subject.gateway("http://127.0.0.1:9/", secrets=subject.signer.secrets[:2])
    assert gateway.callbacks is not None
    yield Case(subject.signer, gateway.callbacks)
    gateway.close()


# --- what is verified ---


def test_a_signed_callback_is_verified(case: Case) -> None:
    """The event id is the header's, whatever other headers the request has."""
    assert case.verify(case.headers(case.body), case.body) == EVENT_ID
    longest = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in ",.").ljust(255, "x")
    assert case.verify(case.headers(case.body, longest), case.body) == longest


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"no JSON", b"{}" * 10_000], ids=len)
def test_a_body_need_not_be_readable_to_be_verified(case: Case, body: bytes) -> None:
    """The signature covers the bytes, so an unreadable body is verified, too."""
    assert case.verify(case.headers(body), body) == EVENT_ID


def test_every_live_secret_is_accepted(case: Case) -> None:
    """During a change of secrets the newest and the previous one are valid; any other is not."""
    newest, older, other = case.signer.secrets
    headers = {each: case.signer.headers(each, EVENT_ID, str(NOW_S), case.body) for each in case.signer.secrets}
    assert case.verify(headers[newest], case.body) == case.verify(headers[older], case.body) == EVENT_ID
    assert case.is_refused(headers[other], case.body)


def test_every_secret_is_compared_for_every_signature(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures by a first, a last and an unknown secret need the same number of constant-time comparisons."""
    compared: list[int] = []
    in_constant_time = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared[-1] += 1
        return in_constant_time(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for secret in case.signer.secrets:
        compared.append(0)
        case.is_refused(case.signer.headers(secret, EVENT_ID, str(NOW_S), case.body), case.body)
    assert compared == [2, 2, 2]


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("off_s", "refused"), [(0, False), (300, False), (301, True), (86_400, True)])
def test_the_timestamp_is_at_most_300_seconds_off(case: Case, *, sign: int, off_s: int, refused: bool) -> None:
    """The difference counts in both directions and in whole seconds, like the timestamp."""
    headers = case.headers(case.body)
    for fraction_s in (0.0, 0.999):
        now = NOW + timedelta(seconds=sign * off_s + fraction_s)
        if refused:
            with pytest.raises(SignatureInvalidError):
                verified(case.callbacks, headers, case.body, now)
        else:
            assert verified(case.callbacks, headers, case.body, now) == EVENT_ID


# --- what is not ---


def bits(text: str) -> Iterator[str]:
    """``text`` with one bit changed, for each bit of its Latin-1 form: that of header values."""
    for position, character in enumerate(text):
        for bit in range(8):
            yield f"{text[:position]}{chr(ord(character) ^ 1 << bit)}{text[position + 1 :]}"


@pytest.mark.parametrize("part", ["id_header", "timestamp_header", "signature_header"])
def test_no_bit_of_a_header_may_change(case: Case, part: str) -> None:
    """A changed bit of the id, the timestamp or the signature is refused, however the signature is spelled."""
    headers, name = case.headers(case.body), getattr(case.signer, part)
    accepted = [text for text in bits(headers[name]) if not case.is_refused({**headers, name: text}, case.body)]
    assert accepted == []


def test_no_bit_of_the_body_may_change(case: Case) -> None:
    """A changed bit of the body is refused, and so is a byte more or less at either end."""
    headers, body = case.headers(case.body), case.body
    changed = [text.encode("latin-1") for text in bits(body.decode("latin-1"))]
    assert len(changed) == 8 * len(body)
    changed += [b"", body[:-1], body[1:], body + b" ", b" " + body, body + b"\x00", body + body]
    assert [each for each in changed if not case.is_refused(headers, each)] == []


@pytest.mark.parametrize("part", ["id_header", "timestamp_header", "signature_header"])
def test_a_missing_empty_or_repeated_header_is_refused(case: Case, part: str) -> None:
    """Servers join repeated headers by a comma. The joined value is refused, even if one part is valid."""
    headers, name = case.headers(case.body), getattr(case.signer, part)
    value = headers[name]
    assert case.is_refused({other: each for other, each in headers.items() if other != name}, case.body)
    for text in ("", " ", value * 2, *(f"{value}{comma}{value}" for comma in (",", ", ", " ,", " , "))):
        assert case.is_refused({**headers, name: text}, case.body), text
    for other in ("x", "1", "v1,x", "sha256=x"):
        for text in (f"{value},{other}", f"{other},{value}", f"{value}, {other}", f"{other}, {value}"):
            assert case.is_refused({**headers, name: text}, case.body), text


def test_no_headers_at_all(case: Case) -> None:
    """A request without headers is refused, and so is one with another provider's headers."""
    assert case.is_refused({}, case.body)
    for subject in CALLERS:
        if subject.signer is not case.signer:
            assert subject.signer is not None
            assert case.is_refused(subject.signer.headers("whsec_AAAA", EVENT_ID, str(NOW_S), case.body), case.body)


@pytest.mark.parametrize(
    "event_id",
    ["", " ", "a b", "a.b", ".", "evt.1700000000", "a,b", "a\tb", "a\nb", "a\x00b", "a\x7f", "\u00e4", "x" * 256],
)
def test_an_invalid_event_id_is_refused(case: Case, event_id: str) -> None:
    """An event id is visible ASCII of bounded length without dots.

    Any other is refused, even with a valid signature.
    """
    assert case.is_refused(case.headers(case.body, event_id), case.body)


@pytest.mark.parametrize(
    "make",
    [
        "{}.0".format,
        " {}".format,
        "{} ".format,
        "+{}".format,
        "{}\n".format,
        "{}_".format,
        "1_{}".format,
        "0x{}".format,
        "000{}".format,
        "{}e0".format,
        lambda seconds: str(seconds).translate({ord("0") + digit: 0x0660 + digit for digit in range(10)}),
        lambda seconds: str(seconds).replace("1", "\u00b9"),
        lambda seconds: str(seconds * 1000),
        lambda _: "1" * 5000,
        lambda _: "nan",
        lambda _: "now",
        lambda _: "-1",
    ],
)
def test_an_invalid_timestamp_is_refused(case: Case, make: Callable[[int], str]) -> None:
    """A timestamp is Unix seconds in ASCII digits of bounded length.

    Any other is refused, even with a valid signature.
    """
    assert case.is_refused(case.headers(case.body, timestamp=make(NOW_S)), case.body)


@pytest.mark.parametrize("event_id", [EVENT_ID, "evt.1700000000", "1700000000.1700000000", "1700000000"])
@pytest.mark.parametrize("body", [b"{}", b"1700000000.{}", b"1700000000.1700000000.", b".", b"100.00", b".1700000000."])
def test_no_byte_moves_between_id_timestamp_and_body(case: Case, event_id: str, body: bytes) -> None:
    """However the signed bytes are split at their dots, at most one way is accepted as a callback.

    If a provider's event id has a dot, against its own scheme, its signature is valid for another split. That body is
    never usable, because no JSON object begins with a digit.
    """
    headers = case.headers(body, event_id)
    pieces = f"{event_id}.{NOW_S}.".encode() + body
    dots = [position for position, byte in enumerate(pieces) if byte == ord(".")]
    accepted = []
    for first, second in combinations(dots, 2):
        taken = (pieces[:first].decode(), pieces[first + 1 : second].decode(), pieces[second + 1 :])
        apart = {**headers, case.signer.id_header: taken[0], case.signer.timestamp_header: taken[1]}
        if not case.is_refused(apart, taken[2]):
            accepted.append(taken)
    if "." in event_id:
        assert len(accepted) <= 1
        for _, _, rest in accepted:
            is_unreadable(case, rest)
    else:
        assert accepted == [(event_id, str(NOW_S), body)]


# --- content ---


def test_completed_and_failed(case: Case) -> None:
    """A payload has the order's reference, its final outcome, and the amount that the provider reported."""
    expected = WebhookPayload(MEMBERS["reference"], "X-1", Money(10_000, "USD"), Approved("X-1", final=True))
    assert applied(case.signer, case.callbacks, case.body) == expected
    payload = payload_of(
        case.signer, case.callbacks, case.signer.body({**MEMBERS, "status": "failed", "gateway_reference": "X-2"})
    )
    assert payload.outcome == Declined("declined", None, "The gateway reported that it failed.")
    assert payload.gateway_reference == "X-2"


@pytest.mark.parametrize(
    "case", [each for each in CALLERS if each.holds], ids=lambda subject: subject.adapter, indirect=True
)
def test_the_states_of_an_authorization(case: Case) -> None:
    """Held, expired and cancelled are outcomes. What they mean depends on the record, and is decided later."""
    outcomes = [
        payload_of(case.signer, case.callbacks, case.signer.body({**MEMBERS, "status": status})).outcome
        for status in ("authorized", "expired", "cancelled")
    ]
    assert outcomes == [
        Authorization("X-1"),
        Declined("authorization_expired", None, "The authorization expired.", "X-1"),
        Declined("authorization_cancelled", None, "The authorization was cancelled.", "X-1"),
    ]


def test_one_notice_with_the_body_as_received(case: Case) -> None:
    """Repetitions are compared by the whole body, and the answer is that of the service."""
    [notice] = case.callbacks.read(case.headers(case.body), case.body, NOW)
    assert (notice.event_id, notice.body) == (EVENT_ID, case.body)
    assert case.callbacks.acceptance == Acceptance(200, "application/json", b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("100", "USD", 10_000),
        ("100.0", "EUR", 10_000),
        ("100.0000", "USD", 10_000),
        ("0.01", "USD", 1),
        ("7", "JPY", 7),
        ("7.0", "JPY", 7),
        ("1.234", "KWD", 1234),
        ("10000000000.00", "CHF", 10**12),
    ],
)
def test_an_amount_counts_by_its_value(case: Case, amount: str, currency: str, minor: int) -> None:
    """An amount counts by its value, in every currency. It is not compared with the record here."""
    payload = payload_of(
        case.signer, case.callbacks, case.signer.body({**MEMBERS, "amount": amount, "currency": currency})
    )
    assert payload.money == Money(minor, currency)
    assert (payload.raw.amount, payload.raw.currency) == (amount, currency)


@pytest.mark.parametrize("reference", ["x", "x" * 200, "!~", "x'y"])
def test_a_reference_may_match_no_transaction(case: Case, reference: str) -> None:
    """Visible ASCII of at most 200 characters is accepted. It is compared with the record later."""
    assert (
        payload_of(case.signer, case.callbacks, case.signer.body({**MEMBERS, "reference": reference})).reference
        == reference
    )


ODD_MEMBERS = (
    [("reference", each) for each in ("", " ", "a b", "a\nb", "\x7f", "\u00e4", "x" * 201)]
    + [("gateway_reference", each) for each in ("", " ", "a b", "a\nb", "\u0412-1", "x" * 129)]
    + [("status", each) for each in ("", "COMPLETED", " completed", "pending", "success", "declined")]
    + [("currency", each) for each in ("", "usd", "XXX", "BITCOINS", "US", " USD", "\u216dHF")]
    + [
        ("amount", each)
        for each in ("", "0", "0.00", "-1", "+1", " 1", "1 ", "1_0", "1e2", "01", "1.", ".1", "1,00", "100.001")
    ]
    + [("amount", each) for each in ("10000000000.01", "1" * 10_000, "NaN", "Infinity", "\u0663", "100.00\n")]
)
"""Members that make a callback unusable, in the suite's words."""


@pytest.mark.parametrize(("member", "value"), ODD_MEMBERS)
def test_an_invalid_member_makes_a_callback_unusable(case: Case, member: str, value: str) -> None:
    """The problem does not repeat the invalid member."""
    is_unreadable(case, case.signer.body({**MEMBERS, member: value}))


def test_an_unreadable_body_makes_a_callback_unusable(case: Case) -> None:
    """Each of the provider's examples of unreadable bodies gives an UnusablePayload and no exception."""
    assert case.signer.unreadable
    for body in case.signer.unreadable.values():
        is_unreadable(case, body)


@pytest.mark.parametrize(("member", "value"), ODD_MEMBERS)
def test_an_unusable_callback_keeps_its_members(case: Case, member: str, value: str) -> None:
    """Operators see each member as received, bounded and storable. A readable reference assigns the review."""
    unusable = read_signed(case.signer, case.callbacks, case.signer.body({**MEMBERS, member: value}))
    assert isinstance(unusable, UnusablePayload)
    assert unusable.reference == (None if member == "reference" else MEMBERS["reference"])
    shown = unusable.raw._asdict()
    assert shown.pop(member) in {storable_text(value), None if not value else storable_text(value)}
    status = payload_of(case.signer, case.callbacks, case.body).raw.status
    expected = {**MEMBERS, "status": status}
    del expected[member]
    assert shown == expected


def test_members_for_operators_can_be_stored(case: Case) -> None:
    """For any body, the members have no U+0000, no lone surrogate and no excess length."""
    bodies = [
        *case.signer.unreadable.values(),
        *(case.signer.body({**MEMBERS, member: value}) for member in MEMBERS for value in ("a\0b", "x" * 9_000)),
    ]
    for body in bodies:
        read = read_signed(case.signer, case.callbacks, body)
        for text in (*read.raw, read.reference):
            assert text is None or ("\0" not in text and len(text.encode("utf-16-le")) <= 2 * TEXT_MAX)


def is_unreadable(case: Case, body: bytes) -> None:
    """The body cannot be applied, and the problem repeats none of it."""
    unusable = read_signed(case.signer, case.callbacks, body)
    assert isinstance(unusable, UnusablePayload)
    assert unusable.problem.startswith("it")
    text = body.decode("latin-1")
    case.reveals_nothing(ValueError(unusable.problem), [text, *(each for each in text.split('"') if each not in NAMES)])


NAMES = {"reference", "transaction_id", "metadata", "currency", "amount", "status"}
"""Names of members, which an error may contain."""
