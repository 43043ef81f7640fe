"""The registry: a file and a table make a gateway, and nothing else does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateways
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Approved
from gateways.gateway_a import GatewayA
from gateways.masking import MaskedGateway
from gateways.port import Order
from gateways.registry import build_gateways, read_settings
from gateways.settings import GatewaySettingsError

TABLE: dict[str, object] = {"adapter": "gateway_a", "url": "http://127.0.0.1:9/a"}


def test_tables_become_gateways_of_their_names() -> None:
    """One adapter may serve several tables. Order and names are those of the file."""
    settings = read_settings({"second": TABLE, "first": {**TABLE, "idempotency_window_s": 60}})
    built = build_gateways(settings)
    assert list(built) == list(settings) == ["second", "first"]
    assert [each.name for each in built.values()] == ["second", "first"]
    assert [each.operations[Kind.DEPOSIT].key_window_s for each in built.values()] == [86_400.0, 60.0]
    assert all(isinstance(each, MaskedGateway) and isinstance(each.adapter, GatewayA) for each in built.values())
    for each in built.values():
        each.close()


@pytest.mark.parametrize(
    "adapter", ["gateway_zz", "port", "settings", "registry", "http", "strict_xml", "simulator", "os", "__init__"]
)
def test_an_unknown_adapter_is_refused(adapter: str) -> None:
    """A missing module and a module that is no adapter are refused. The error lists the adapters."""
    text = f"^gateway 'x', key 'adapter': '{adapter}' is not an adapter; known are gateway_a"
    with pytest.raises(GatewaySettingsError, match=text):
        read_settings({"x": {**TABLE, "adapter": adapter}})


@pytest.mark.parametrize("adapter", ["../evil", "a.b", "os.path", "", 5, None])
def test_nothing_outside_of_the_package_is_imported(adapter: object) -> None:
    """An adapter's name is one plain identifier."""
    before = set(sys.modules)
    with pytest.raises(GatewaySettingsError, match=r"^gateway 'x', key 'adapter': "):
        read_settings({"x": {**TABLE, "adapter": adapter}})
    assert set(sys.modules) == before


def test_a_stray_value_is_refused() -> None:
    """A value outside of the tables is refused."""
    with pytest.raises(GatewaySettingsError, match=r"^gateway 'x': must be a table, \[x\]$"):
        read_settings({"x": 5})


THIRD = '''
"""A third gateway."""
from domain.events import Kind
from domain.outcomes import Approved
from gateways.port import OperationFacts

OPTIONS = {"reference": "T-1"}


class Third:
    callbacks = None
    currencies = frozenset({"CHF"})
    operations = {Kind.DEPOSIT: OperationFacts()}
    holds = False
    reference_form = None

    def __init__(self, settings):
        self.name = settings.name
        self._reference = settings.options["reference"]

    def submit(self, order):
        return Approved(self._reference, final=True)

    def lookup(self, order):
        return Approved(self._reference, final=True)

    def close(self):
        pass


def build(settings, _callback_keys):
    return Third(settings)
'''


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module gateway_third in gateways/, without a change of the checkout."""
    (tmp_path / "gateway_third.py").write_text(THIRD, "utf-8")
    monkeypatch.setattr(gateways, "__path__", [*gateways.__path__, str(tmp_path)])
    yield "gateway_third"
    sys.modules.pop("gateways.gateway_third", None)


def test_one_file_and_one_table_add_a_gateway(third: str) -> None:
    """Only the file and the table are needed, also for an adapter with its own options."""
    built = build_gateways(read_settings({"third": {"adapter": third, "url": "http://x/", "reference": "T-2"}}))
    order = Order("0190", Kind.DEPOSIT, Money(1, "CHF"), "1", {})
    assert built["third"].submit(order) == Approved("T-2", final=True)


@pytest.mark.parametrize(
    ("operations", "holds", "problem"),
    [
        ("{Kind.DEPOSIT: OperationFacts(0.0, LookupMeans.REPEAT)}", False, "a repeated deposit without a key"),
        ("{Kind.REFUND: OperationFacts(60.0, not_found_after_s=61.0)}", False, "a refund may be found only after"),
        ("{Kind.DEPOSIT: OperationFacts()}", True, "it declares holds = True, but does not"),
        ("{Kind.DEPOSIT: OperationFacts(), Kind.CAPTURE: OperationFacts()}", True, None),
    ],
)
def test_an_adapter_that_contradicts_itself_is_refused(
    *, tmp_path: Path, third: str, operations: str, holds: bool, problem: str | None
) -> None:
    """What would put money at risk is found before anything is sent."""
    text = THIRD.replace("{Kind.DEPOSIT: OperationFacts()}", operations).replace("holds = False", f"holds = {holds}")
    text = text.replace("import OperationFacts", "import LookupMeans, OperationFacts")
    (tmp_path / f"{third}.py").write_text(text, "utf-8")
    settings = read_settings({"x": {"adapter": third, "url": "http://x/"}})
    if problem is None:
        build_gateways(settings)
        return
    with pytest.raises(GatewaySettingsError, match=f"^gateway 'x': the adapter 'gateway_third' is wrong: {problem}"):
        build_gateways(settings)


def test_a_key_window_of_zero_is_refused() -> None:
    """With idempotency keys that are not remembered at all, the first retry would pay twice."""
    settings = read_settings({"second": {**TABLE, "idempotency_window_s": 0}})
    with pytest.raises(GatewaySettingsError, match="'second', key 'idempotency_window_s': must be above 0"):
        build_gateways(settings)
