"""docs/adding-a-gateway.md, followed to the letter: its code blocks are written where it says, and run."""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

import gateways
from domain.events import Kind
from domain.outcomes import Approved, Category, Declined, NotReceived, NotSentError, OutcomeUnknownError
from gateways.port import Gateway, Order, SignatureInvalidError, WebhookPayload
from gateways.registry import build_gateways, callback_secrets, read_settings
from gateways.settings import GatewaySettingsError
from tests.gateways.callback_signers import applied
from tests.gateways.peer import Behave, Exchange, Peer, answers, closes

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs/adding-a-gateway.md").read_text("utf-8")
FORM = "application/x-www-form-urlencoded"
SECRETS = "PAYMENTS_GATEWAY_C_SECRETS"
STEP = re.compile(r"`((?:gateways|config|tests)/[a-z_/.]+)`([^\n`]*):\n\n```[a-z]+\n(.*?)```\n", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One code block: which file it is for, what the page says of where in it, and the text."""

    path: str
    where: str
    text: str


STEPS = [Step(*found) for found in STEP.findall(PAGE)]
ADAPTER, TABLE, IMPORTS, SUBJECT = STEPS


def test_the_page_has_the_steps_that_are_followed_here() -> None:
    """Every code block of the page belongs to a file, and is one of those that the tests below write."""
    assert [(step.path, step.where) for step in STEPS] == [
        ("gateways/gateway_c.py", ""),
        ("config/gateways.toml", ", at the end"),
        ("tests/gateways/subjects.py", ", with the other imports"),
        ("tests/gateways/subjects.py", ", in place of its last line"),
    ]
    assert PAGE.count("```") == 2 * len(STEPS)


# --- the file and the table make a gateway ---


@dataclass
class Provider:
    """gatewayC's provider as the page describes it, in a few lines: one effect for each key."""

    effects: dict[str, dict[str, str]] = field(default_factory=dict)  # by key
    limited: bool = False
    loses_answers: bool = False

    def behave(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = exchange.request
        where = urlsplit(request.path)
        status, answer = 404, "result=unknown"
        if self.limited:
            status, answer = 429, ""
        elif request.method == "POST" and where.path == "/gatewayC/payments":
            assert request.headers["content-type"] == FORM
            key = request.headers["request-id"]
            self.effects.setdefault(key, dict(parse_qsl(request.body.decode("ascii"), strict_parsing=True)))
            status, answer = 200, self._said(key)
        elif where.path == "/gatewayC/payments":
            key = parse_qs(where.query)["reference"][0]
            if key in self.effects:
                status, answer = 200, self._said(key)
        if self.loses_answers:
            closes(exchange)
        else:
            answers(status, answer.encode(), FORM)(exchange)

    def _said(self, key: str) -> str:
        declined = self.effects[key]["amount"].endswith(".01")
        return "id=C-1&result=refused&reason=no_money" if declined else "id=C-1&result=paid"


@pytest.fixture
def provider() -> Provider:
    """A provider that has seen nothing yet."""
    return Provider()


@pytest.fixture
def gateway(
    tmp_path: Path, provider: Provider, peers: Callable[[Behave], Peer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """The page's gateway, from its file and its table, through the registry; only the URL is this machine's."""
    (tmp_path / Path(ADAPTER.path).name).write_text(ADAPTER.text, "utf-8")
    monkeypatch.setattr(gateways, "__path__", [*gateways.__path__, str(tmp_path)])
    tables = {**tomllib.loads((CHECKOUT / TABLE.path).read_text("utf-8")), **tomllib.loads(TABLE.text)}
    tables["gatewayC"]["url"] = f"{peers(provider.behave).url}/gatewayC"
    settings = read_settings(tables)
    built = build_gateways(settings, callback_secrets(settings, {SECRETS: "of today and yesterday"}, loopback=True))
    yield built["gatewayC"]
    for each in built.values():
        each.close()
    sys.modules.pop("gateways.gateway_c", None)


def test_a_deposit_by_the_new_gateway(gateway: Gateway, provider: Provider, order: Callable[..., Order]) -> None:
    """One file and one table move money: once for each key, in the provider's words, found by a lookup."""
    asked = order(10_000, "CHF")
    assert gateway.lookup(asked) == NotReceived()
    for ask in (gateway.submit, gateway.submit, gateway.lookup):
        assert ask(asked) == Approved("C-1", final=True)
    assert provider.effects == {
        asked.transaction_id: {
            "type": "deposit",
            "reference": asked.transaction_id,
            "amount": "100.00",
            "currency": "CHF",
            "customer": "12345",
        }
    }
    gateway.submit(order(kind=Kind.WITHDRAWAL))
    assert [effect["type"] for effect in provider.effects.values()] == ["deposit", "payout"]


def test_what_the_new_gateway_makes_of_trouble(
    gateway: Gateway, provider: Provider, order: Callable[..., Order]
) -> None:
    """A decline is a value, 429 is "not sent" as the page lists it, and a lost answer is unknown until looked up."""
    said = gateway.submit(order(10_001))
    assert isinstance(said, Declined)
    assert (said.code, said.category) == ("insufficient_funds", Category.SOFT)
    provider.limited = True
    with pytest.raises(NotSentError):
        gateway.submit(order())
    with pytest.raises(OutcomeUnknownError):
        gateway.lookup(order())
    provider.limited, provider.loses_answers = False, True
    asked = order()
    with pytest.raises(OutcomeUnknownError):
        gateway.submit(asked)
    provider.loses_answers = False
    assert gateway.lookup(asked) == Approved("C-1", final=True)


def test_the_facts_of_the_new_gateway(gateway: Gateway) -> None:
    """The table's option of its own arrives: seven days."""
    assert (gateway.honours_keys, gateway.looks_up) == (True, True)
    assert gateway.idempotency_window_s == 7 * 86_400


def test_a_callback_of_the_new_gateway(gateway: Gateway, order: Callable[..., Order]) -> None:
    """What the page's provider signs with the variable's secret is verified and read, in our words."""
    asked, now = order(10_000, "CHF"), datetime.now(UTC)
    body = f"event=E-1&id=C-1&result=paid&reference={asked.transaction_id}&amount=100.00&currency=CHF".encode()
    timestamp = str(int(now.timestamp()))
    signed = f"E-1.{timestamp}.".encode() + body
    headers = {
        "payments-event": "E-1",
        "payments-time": timestamp,
        "payments-signature": hmac.new(b"of today and yesterday", signed, hashlib.sha256).hexdigest(),
    }
    assert gateway.callbacks is not None
    assert gateway.callbacks.verify(headers, body, now) == "E-1"
    assert applied(gateway.callbacks, body) == WebhookPayload(
        asked.transaction_id, "C-1", asked.money, Approved("C-1", final=True)
    )
    with pytest.raises(SignatureInvalidError):
        gateway.callbacks.verify(headers, body + b"&more=1", now)


def without_callbacks(adapter: str) -> str:
    """The page's adapter as the page says that it looks without callbacks."""
    section = re.compile(r"# --- callbacks ---\n.*?(?=# --- building ---)", re.DOTALL)
    key = re.compile(r"def callback_key.*?\n\n\n", re.DOTALL)
    build = re.compile(r"def build\(.*?return [^\n]*\n", re.DOTALL)
    edits = [
        (section, ""),
        (key, ""),
        (build, f'{BUILD_WITHOUT}\n    """Make the gateway."""\n    return GatewayC(settings)\n'),
        (re.compile(r"settings: GatewaySettings, callback_keys: Sequence\[bytes\]\) -> None"), SETTINGS_ONLY),
        (re.compile(r"self\.callbacks = GatewayCCallbacks[^\n]*"), "self.callbacks = None"),
    ]
    for pattern, text in edits:
        adapter, times = pattern.subn(text, adapter)
        assert times == 1, pattern.pattern
    return adapter


BUILD_WITHOUT = "def build(settings: GatewaySettings, _callback_keys: Sequence[bytes]) -> Gateway:"
SETTINGS_ONLY = "settings: GatewaySettings) -> None"


def test_the_new_gateway_without_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the page says to leave out, the adapter works as before, and wants no secrets."""
    for said in (f"`{BUILD_WITHOUT}` returns `GatewayC(settings)`", "`self.callbacks = None`"):
        assert f"- {said}" in PAGE
    (tmp_path / Path(ADAPTER.path).name).write_text(without_callbacks(ADAPTER.text), "utf-8")
    monkeypatch.setattr(gateways, "__path__", [*gateways.__path__, str(tmp_path)])
    table = tomllib.loads(TABLE.text)["gatewayC"]
    try:
        with pytest.raises(GatewaySettingsError, match=r"its adapter 'gateway_c' takes no callbacks$"):
            callback_secrets(read_settings({"gatewayC": table}), {}, loopback=True)
        del table["callback_secrets_env"]
        settings = read_settings({"gatewayC": table})
        built = build_gateways(settings, callback_secrets(settings, {}, loopback=False))["gatewayC"]
        assert built.callbacks is None
        built.close()
    finally:
        sys.modules.pop("gateways.gateway_c", None)


# --- the subject puts it under the contract suite ---


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout's rooms and tests in which all steps of the page were taken.

    Steps that somebody has taken in the checkout itself, to try the page out, are not taken again.
    """
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("domain", "gateways", "config", "tests"):
        shutil.copytree(CHECKOUT / folder, copy / folder, ignore=ignore)
    (copy / "docs").mkdir()
    for name in (
        "setup.cfg",
        "pyproject.toml",
        "docs/adding-a-gateway.md",
    ):
        shutil.copy(CHECKOUT / name, copy / name)
    (copy / ADAPTER.path).write_text(ADAPTER.text, "utf-8")
    table, subjects = copy / TABLE.path, copy / SUBJECT.path
    if "[gatewayC]" not in table.read_text("utf-8"):
        table.write_text(f"{table.read_text('utf-8')}\n{TABLE.text}", "utf-8")
    if "GATEWAY_C" not in subjects.read_text("utf-8"):
        *lines, last = subjects.read_text("utf-8").splitlines(keepends=True)
        assert last.startswith("SUBJECTS = ")
        others = next(number for number, line in enumerate(lines) if line.startswith("from xml."))
        subjects.write_text("".join([*lines[:others], IMPORTS.text, *lines[others:], SUBJECT.text]), "utf-8")
    return copy


def run(followed: Path, *arguments: str) -> str:
    """Run a module of Python in the copy; its output."""
    ended = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=followed, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_new_gateway_passes_the_contract_suite(followed: Path) -> None:
    """The command of the page runs the suite, and only on the new adapter; every case passes, none is skipped."""
    said = run(followed, "pytest", "tests/gateways", "-k", "gateway_c", "-q", "-p", "no:cacheprovider")
    found = re.search(r"^(\d+) passed, \d+ deselected", said, re.MULTILINE)
    assert found is not None, said
    assert int(found[1]) > 100
    assert "skipped" not in said


def test_the_code_of_the_page_is_as_make_check_wants_it(followed: Path) -> None:
    """What the page tells to write needs no mending afterwards but for blank lines."""
    written = [ADAPTER.path, SUBJECT.path]
    run(followed, "ruff", "format", "--no-cache", "--check", ADAPTER.path)
    run(followed, "ruff", "format", "--no-cache", SUBJECT.path)
    run(followed, "ruff", "check", "--no-cache", *written)
    run(followed, "mypy", *written)
