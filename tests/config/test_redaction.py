"""Log lines contain no secrets, by form or value, and no card numbers. Everything else is unchanged."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from config import redaction as redacting
from config.logging import ConsoleFormatter, InfoLines, JsonFormatter, LineHandler
from config.redaction import CUT, HIDDEN, SEARCHED_MAX, Redaction, hide
from config.settings import CHECKOUT
from domain import cards

REDACTION = Redaction(cards)
CARD = "4111111111111111"
MASKED = "411111******1111"
FIELDS: dict[str, object] = {
    "transaction_id": "01a20384-41d6-7fec-aa23-e22947e4a14e",
    "correlation_id": "4dac4f5e6a7b8c9d0e1f2a3b4c5d6e7f",
    "stream_id": "jane.doe@example.com",
    "version": 1,
    "gateway": "gatewayA",
    "amount": "100.00",
    "currency": "USD",
}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the test's known values are hidden."""
    monkeypatch.setattr(redacting, "_known", ())
    monkeypatch.setattr(redacting, "_known_bytes", ())


def line(message: str, **fields: object) -> dict[str, object]:
    """The line of a record in JSON, without the keys that the code sets."""
    record = logging.makeLogRecord({"msg": message, "fields": fields, "name": "api", "levelname": "INFO"})
    found: dict[str, object] = json.loads(JsonFormatter(REDACTION).format(record))
    assert found.pop("time")
    assert (found.pop("level"), found.pop("logger")) == ("INFO", "api")
    return found


def console(message: str, **fields: object) -> str:
    """The same on a console."""
    record = logging.makeLogRecord({"msg": message, "fields": fields, "name": "api", "levelname": "INFO"})
    return ConsoleFormatter(REDACTION).format(record)


def test_other_values_are_unchanged() -> None:
    """Ids, amounts and customers stay as they are and keep their types, also unusual ones."""
    fields = {**FIELDS, "path": "/v1/deposit", "name": "J\u00f6rg", "ratio": 0.5, "list": ["a", 1], "nothing": None}
    assert line("DepositReceived", **fields) == {"message": "DepositReceived", **fields}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (CARD, MASKED),
        ("of 4111 1111 1111 1111.", "of 4111 11** **** 1111."),
        ("GET /v1/customers/4111%201111%201111%201111", f"GET {HIDDEN}"),
        ("Authorization: Bearer abc.def-1_2", f"Authorization: Bearer {HIDDEN}"),
        ("('AUTHORIZATION', 'bearer abc')", f"('AUTHORIZATION', 'bearer {HIDDEN}')"),
        ("key pgw_k17_c2VjcmV0 used", f"key pgw_k17_{HIDDEN} used"),
        ("whsec_Zm9yIGRldg== is", f"whsec_{HIDDEN} is"),
        ("amqp://user:word@host/x", f"amqp://user:{HIDDEN}@host/x"),
        ("postgresql://:word@host", f"postgresql://:{HIDDEN}@host"),
        ("http://127.0.0.1:8090/gatewayA", "http://127.0.0.1:8090/gatewayA"),
    ],
)
def test_secrets_by_form(said: str, shown: str) -> None:
    """A secret is hidden in the message, a field, a nested field and a field's name, as JSON and on a console."""
    assert line(said) == {"message": shown}
    assert line("x", field=said, deep=[{"a": (said,)}]) == {"message": "x", "field": shown, "deep": [{"a": [shown]}]}
    assert list(line("x", **{said: 1})) == ["message", shown]
    assert console(said, field=said).endswith(f"api: {shown}  field={shown}")


def test_card_numbers_as_numbers() -> None:
    """A number that reads as a card number becomes a text, and the line stays JSON. Other numbers stay numbers."""
    assert line("x", number=int(CARD), other=7, flag=True) == {
        "message": "x",
        "number": MASKED,
        "other": 7,
        "flag": True,
    }


@pytest.mark.parametrize(
    "secret", ["plain-secret-of-text", 'a "quoted" \\ one', "s\u00e4cret-with-umlaut", "ends-with-newline\n"]
)
def test_secrets_by_value(secret: str) -> None:
    """A known value with any characters is hidden, also in a traceback and within other text."""
    hide(secret)
    assert line(f"<{secret}>", field=secret) == {"message": f"<{HIDDEN}>", "field": HIDDEN}
    with pytest.raises(ValueError, match="invalid literal") as raised:
        int(f"<{secret}>")
    record = logging.makeLogRecord({"msg": "failed", "exc_info": (raised.type, raised.value, raised.tb)})
    text = JsonFormatter(REDACTION).format(record)
    assert json.loads(text)["exception"].endswith(f"'<{HIDDEN}>'")


def test_only_the_password_of_a_url_is_hidden() -> None:
    """The password is hidden as written in the URL, decoded, and as a parameter. Nothing else of the URL is."""
    hide("postgresql://payments:pass%40word@host/payments?sslpassword=other-secret", "sqlite:////var/payments.db", "")
    assert line("payments: pass%40word pass@word other-secret host") == {
        "message": f"payments: {HIDDEN} {HIDDEN} {HIDDEN} host"
    }


def test_short_values_need_a_context() -> None:
    """A password such as "payments" hides words. A shorter one is hidden only where its context identifies it."""
    hide("postgresql://u:events@host/db")
    assert line("events of postgresql://u:events@host") == {"message": f"events of postgresql://u:{HIDDEN}@host"}


def test_the_quick_look_decides_nothing_alone() -> None:
    """A random id with many digits in a row is unchanged by the detailed search."""
    fields = {**FIELDS, "correlation_id": "a" + "1" * 15 + "b" * 16}
    assert line("x", **fields) == {"message": "x", **fields}


def test_many_lines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines without records are redacted in the same way, all of them when one contains something."""
    written: list[bytes] = []
    handler = LineHandler()
    handler.setFormatter(JsonFormatter(REDACTION))
    monkeypatch.setattr(handler, "write", written.append)
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(logging.root, "level", logging.INFO)
    InfoLines("payments").write(
        [("one", {"n": 1}), ("two", {"n": int(CARD), "key": "pgw_k_secret"}), ("three", FIELDS)]
    )
    lines = [json.loads(each) for each in b"".join(written).splitlines()]
    assert [each["message"] for each in lines] == ["one", "two", "three"]
    assert (lines[0]["n"], lines[1]["n"], lines[1]["key"]) == (1, MASKED, f"pgw_k_{HIDDEN}")
    assert lines[2].items() >= FIELDS.items()


def test_standard_error() -> None:
    """Python's own output about an uncaught error is redacted as well."""
    program = f"""
import threading
from config.logging import configure
from config.redaction import Redaction
from domain import cards
configure("INFO", "json", Redaction(cards))
def fail():
    raise ValueError("{CARD} whsec_Zm9yIGRldg==")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, check=False, timeout=60)
    assert done.stderr.count(b"ValueError: " + MASKED.encode() + b" whsec_" + HIDDEN.encode()) == 2
    assert CARD.encode() not in done.stderr.replace(b'raise ValueError("' + CARD.encode(), b"")


@pytest.mark.parametrize(
    "secret", [CARD, "4111 1111 1111 1111", "Bearer abc.def-1_2", "whsec_Zm9yIGRldg==", "known-to-us"]
)
def test_long_texts_are_cut(secret: str) -> None:
    """A text is searched up to a limit. Nothing of a secret at the limit remains."""
    hide("known-to-us")
    for place in (0, 10_000, *range(SEARCHED_MAX - len(secret), SEARCHED_MAX + 2), 40_000):
        shown = line(f"{'.' * place} {secret} {'.' * 40_000}")["message"]
        assert isinstance(shown, str)
        for half in (secret[: len(secret) // 2 + 2], secret[len(secret) // 2 :]):
            assert half not in shown
        assert shown.endswith(f".{CUT}")
        assert len(shown) <= SEARCHED_MAX
    text = "." * SEARCHED_MAX
    assert line(text) == {"message": text}


@pytest.mark.parametrize("text", ["a" * SEARCHED_MAX, "a" * 8_000 + "%" + "a" * 8_000, "%31" * 5_000])
def test_long_words_are_unchanged(text: str) -> None:
    """URL escapes hide nothing. Each word is searched once, and not again from each of its letters."""
    assert REDACTION.text(text) == text
    assert REDACTION.text(f"\\ {text[1:-1]}") == f"\\ {text[1:-1]}"


def test_only_the_word_that_escapes_a_card_number_is_hidden() -> None:
    """Words end at white space and at quotes."""
    escaped = CARD.replace("4", "%34")
    assert (
        REDACTION.text(f"""a '{escaped}' "x{escaped}" 5% {escaped}\tb""")
        == f"""a '{HIDDEN}' "{HIDDEN}" 5% {HIDDEN}\tb"""
    )
