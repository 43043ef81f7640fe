"""From the tables of the gateways file to gateways: finds each one's adapter module; knows no gateway by name."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol, cast

import gateways
from gateways.port import Gateway
from gateways.settings import GatewaySettings, GatewaySettingsError, OptionValue

_ADAPTER_MEMBERS: Final = ("OPTIONS", "build")


class Adapter(Protocol):
    """What a module in gateways/ must offer to be named as ``adapter``."""

    OPTIONS: Mapping[str, OptionValue]
    """The keys of its own that its tables may have, with their defaults."""

    def build(self, settings: GatewaySettings) -> Gateway:
        """Make the gateway; nothing is sent yet. Raises GatewaySettingsError."""


def read_settings(tables: Mapping[str, object]) -> Mapping[str, GatewaySettings]:
    """Check all tables of the gateways file; name to settings, in the file's order. Raises GatewaySettingsError."""
    settings: dict[str, GatewaySettings] = {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise GatewaySettingsError(name, None, f"must be a table, [{name}]")
        adapter = table.get("adapter")
        # Without a usable adapter name there are no options to know; the check of the table then says what is wrong.
        options = _adapter(name, adapter).OPTIONS if isinstance(adapter, str) and adapter.isidentifier() else {}
        settings[name] = GatewaySettings.from_table(name, table, options)
    return MappingProxyType(settings)


def build_gateways(settings: Mapping[str, GatewaySettings]) -> Mapping[str, Gateway]:
    """Make every gateway; nothing is sent yet. Raises GatewaySettingsError."""
    built = {name: _adapter(name, each.adapter).build(each) for name, each in settings.items()}
    for name, gateway in built.items():
        if gateway.honours_keys and gateway.idempotency_window_s <= 0:
            problem = "must be above 0: only within it the same key twice is surely one payment"
            raise GatewaySettingsError(name, "idempotency_window_s", problem)
    return MappingProxyType(built)


def _adapter(gateway: str, name: str) -> Adapter:
    """The module of gateways/ that ``name`` (an identifier, so no path and no other package) stands for."""
    full_name = f"{gateways.__name__}.{name}"
    if importlib.util.find_spec(full_name) is not None:
        module = importlib.import_module(full_name)
        if all(hasattr(module, member) for member in _ADAPTER_MEMBERS):
            return cast("Adapter", module)  # a module satisfies the protocol by what it holds, checked just above
    raise GatewaySettingsError(gateway, "adapter", f"{name!r} is none; known are {', '.join(_known_adapters())}")


def _known_adapters() -> list[str]:
    # By the file names' habit, for the message only: importing each module to look inside is not worth it.
    return sorted(each.name for each in pkgutil.iter_modules(gateways.__path__) if each.name.startswith("gateway_"))
