"""docs/adding-a-gateway.md, executed: its code blocks are written to the files that it names, and run."""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

import gateways
from domain.events import Kind
from domain.outcomes import Approved, Category, Declined, NotReceived, NotSentError, OutcomeUnknownError
from gateways.port import Gateway, Order, RawMembers, SignatureInvalidError, WebhookPayload
from gateways.registry import build_gateways, callback_secrets, read_settings
from gateways.settings import GatewaySettingsError
from tests.gateways.peer import Behave, Exchange, Peer, answers, closes

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs/adding-a-gateway.md").read_text("utf-8")
FORM = "application/x-www-form-urlencoded"
SECRETS = "PAYMENTS_GATEWAY_C_SECRETS"
STEP = re.compile(r"`((?:gateways|config|tests)/[a-z_/.]+)`([^\n`]*):\n\n```[a-z]+\n(.*?)```\n", re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One code block: its file, the page's statement of the place in it, and the text."""

    path: str
    where: str
    text: str


STEPS = [Step(*found) for found in STEP.findall(PAGE)]
ADAPTER, TABLE, IMPORTS, SUBJECT = STEPS


def test_the_page_has_exactly_the_steps_of_these_tests() -> None:
    """Every code block of the page belongs to a file, and is one of the steps that the tests below write."""
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
    """gatewayC's provider, as the page describes it: one effect per key."""

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
            status, answer = 200, self._answer_of(key)
        elif where.path == "/gatewayC/payments":
            key = parse_qs(where.query)["reference"][0]
            if key in self.effects:
                status, answer = 200, self._answer_of(key)
        if self.loses_answers:
            closes(exchange)
        else:
            answers(status, answer.encode(), FORM)(exchange)

    def _answer_of(self, key: str) -> str:
        declined = self.effects[key]["amount"].endswith(".01")
        return "id=C-1&result=refused&reason=no_money" if declined else "id=C-1&result=paid"


@pytest.fixture
def provider() -> Provider:
    """A new provider."""
    return Provider()


@pytest.fixture
def gateway(
    tmp_path: Path, provider: Provider, peers: Callable[[Behave], Peer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """The page's gateway, made by the registry from its file and its table. Only the URL is a local one."""
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
    """A file and a table are enough to move money: once per key, with the provider's wording, and found by a lookup."""
    payment = order(10_000, "CHF")
    assert gateway.lookup(payment) == NotReceived()
    for ask in (gateway.submit, gateway.submit, gateway.lookup):
        assert ask(payment) == Approved("C-1", final=True)
    assert provider.effects == {
        payment.transaction_id: {
            "type": "deposit",
            "reference": payment.transaction_id,
            "amount": "100.00",
            "currency": "CHF",
            "customer": "12345",
        }
    }
    gateway.submit(order(kind=Kind.WITHDRAWAL))
    refund = replace(order(4_000, "CHF", Kind.REFUND), parent_id=payment.transaction_id, parent_reference="C-1")
    assert gateway.submit(refund) == Approved("C-1", final=True)
    sent = [(effect["type"], effect.get("payment")) for effect in provider.effects.values()]
    assert sent == [("deposit", None), ("payout", None), ("refund", "C-1")]


def test_failures_of_the_new_gateway(gateway: Gateway, provider: Provider, order: Callable[..., Order]) -> None:
    """A decline is a value, 429 is "not sent" as in the page, and a lost answer is unknown until a lookup."""
    outcome = gateway.submit(order(10_001))
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.category) == ("insufficient_funds", Category.SOFT)
    provider.limited = True
    with pytest.raises(NotSentError):
        gateway.submit(order())
    with pytest.raises(OutcomeUnknownError):
        gateway.lookup(order())
    provider.limited, provider.loses_answers = False, True
    payment = order()
    with pytest.raises(OutcomeUnknownError):
        gateway.submit(payment)
    provider.loses_answers = False
    assert gateway.lookup(payment) == Approved("C-1", final=True)


def test_the_facts_of_the_new_gateway(gateway: Gateway) -> None:
    """The table's own option has the value of the page: seven days."""
    windows = {kind: facts.key_window_s / 86_400 for kind, facts in gateway.operations.items()}
    assert windows == {Kind.DEPOSIT: 7, Kind.WITHDRAWAL: 7, Kind.REFUND: 1}
    assert not gateway.holds
    assert gateway.reference_form is not None
    assert gateway.reference_form.fullmatch("C-1")


def test_a_callback_of_the_new_gateway(gateway: Gateway, order: Callable[..., Order]) -> None:
    """A callback that is signed with the variable's secret is verified and read."""
    payment, now = order(10_000, "CHF"), datetime.now(UTC)
    body = f"event=E-1&id=C-1&result=paid&reference={payment.transaction_id}&amount=100.00&currency=CHF".encode()
    timestamp = str(int(now.timestamp()))
    signed = f"E-1.{timestamp}.".encode() + body
    headers = {
        "payments-event": "E-1",
        "payments-time": timestamp,
        "payments-signature": hmac.new(b"of today and yesterday", signed, hashlib.sha256).hexdigest(),
    }
    assert gateway.callbacks is not None
    [notice] = gateway.callbacks.read(headers, body, now)
    assert (notice.event_id, notice.body) == ("E-1", body)
    assert isinstance(notice.payload, WebhookPayload)
    assert notice.payload._replace(raw=RawMembers()) == WebhookPayload(
        payment.transaction_id, "C-1", payment.money, Approved("C-1", final=True)
    )
    with pytest.raises(SignatureInvalidError):
        gateway.callbacks.read(headers, body + b"&more=1", now)


def without_callbacks(adapter: str) -> str:
    """The page's adapter, changed as the page describes for a provider without callbacks."""
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
    """Without the parts that the page names, the adapter works as before and needs no secrets."""
    for change in (f"`{BUILD_WITHOUT}` returns `GatewayC(settings)`", "`self.callbacks = None`"):
        assert f"- {change}" in PAGE
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
def extended_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which all steps of the page were taken.

    Steps that the checkout already contains, to try the page out, are not repeated.
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


def run(extended_checkout: Path, *arguments: str) -> str:
    """Run a Python module in the copy; return its output."""
    ended = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=extended_checkout,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_new_gateway_passes_the_contract_suite(extended_checkout: Path) -> None:
    """The command of the page runs the suite for the new adapter only. Every case passes, and none is skipped."""
    output = run(extended_checkout, "pytest", "tests/gateways", "-k", "gateway_c", "-q", "-p", "no:cacheprovider")
    found = re.search(r"^(\d+) passed, \d+ deselected", output, re.MULTILINE)
    assert found is not None, output
    assert int(found[1]) > 100
    assert "skipped" not in output


def test_the_code_of_the_page_passes_make_check(extended_checkout: Path) -> None:
    """The page's code passes the linter without changes other than blank lines."""
    written = [ADAPTER.path, SUBJECT.path]
    run(extended_checkout, "ruff", "format", "--no-cache", "--check", ADAPTER.path)
    run(extended_checkout, "ruff", "format", "--no-cache", SUBJECT.path)
    run(extended_checkout, "ruff", "check", "--no-cache", *written)
    run(extended_checkout, "mypy", *written)
