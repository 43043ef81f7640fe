"""From the tables of the gateways file to gateways: finds each one's adapter module; knows no gateway by name.

It also reads the callbacks' secrets from the environment that it is given: none of them is ever part of a text here.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol, Self, cast

import gateways
from gateways.development import CALLBACK_SECRET
from gateways.masking import MaskedGateway
from gateways.port import Gateway
from gateways.settings import GatewaySettings, GatewaySettingsError, OptionValue

logger: Final = logging.getLogger(__name__)

_ADAPTER_MEMBERS: Final = ("OPTIONS", "build")
_CALLBACK_MEMBER: Final = "callback_key"
_SECRETS_KEY: Final = "callback_secrets_env"
_KEY_BYTES_MIN: Final = 16
_NO_SECRETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Gateways:
    """All configured gateways of a process, by name in the file's order. ``secrets`` are those of their callbacks."""

    by_name: Mapping[str, Gateway]
    settings: Mapping[str, GatewaySettings]
    secrets: Mapping[str, tuple[str, ...]]

    @classmethod
    def configured(cls, tables: Mapping[str, object], environ: Mapping[str, str], *, loopback: bool) -> Self:
        """Make the gateways of ``tables``; nothing is sent yet. Raises GatewaySettingsError."""
        settings = read_settings(tables)
        secrets = callback_secrets(settings, environ, loopback=loopback)
        return cls(build_gateways(settings, secrets), settings, secrets)

    @property
    def with_settings(self) -> Mapping[str, tuple[Gateway, GatewaySettings]]:
        """Each gateway with its settings."""
        return {name: (gateway, self.settings[name]) for name, gateway in self.by_name.items()}

    @property
    def secret_texts(self) -> Sequence[str]:
        """All secrets, to be hidden in logs."""
        return [secret for live in self.secrets.values() for secret in live]

    def warn(self) -> None:
        """Log settings that put money at risk: a short settlement delay, and the development secret."""
        for name, gateway in self.by_name.items():
            settings = self.settings[name]
            if not gateway.honours_keys and settings.settle_s < settings.timeout_s:
                logger.warning(
                    "settle_s is short: what this gateway takes in later than that is paid twice",
                    extra={"fields": {"gateway": name, "settle_s": settings.settle_s, "timeout_s": settings.timeout_s}},
                )
        for name in with_development_secret(self.secrets):
            logger.warning(
                "callbacks are signed with the development secret, which everybody knows",
                extra={"fields": {"gateway": name}},
            )

    def close(self) -> None:
        """Close the connections of all gateways."""
        for gateway in self.by_name.values():
            gateway.close()


class Adapter(Protocol):
    """What a module in gateways/ must offer to be named as ``adapter``.

    One whose provider makes callbacks also offers ``callback_key(secret: str) -> bytes``: the key that a secret stands
    for. It raises ValueError for a text that is no secret of this provider's.
    """

    OPTIONS: Mapping[str, OptionValue]
    """The keys of its own that its tables may have, with their defaults."""

    def build(self, settings: GatewaySettings, callback_keys: Sequence[bytes]) -> Gateway:
        """Make the gateway; nothing is sent yet. Without keys it takes no callbacks. Raises GatewaySettingsError."""


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


def callback_secrets(
    settings: Mapping[str, GatewaySettings], environ: Mapping[str, str], *, loopback: bool
) -> Mapping[str, tuple[str, ...]]:
    """The live secrets of every gateway that takes callbacks, newest first, as ``environ`` has them.

    ``loopback``: only programs on this machine can reach the service. Then the development secret stands in for what
    is not set; ``with_development_secret`` tells where. Otherwise, and for a text that is no secret of the gateway's,
    it raises GatewaySettingsError, which names the variable.
    """
    return MappingProxyType(
        {
            name: _secrets(each, environ, loopback=loopback)
            for name, each in settings.items()
            if each.callback_secrets_env
        }
    )


def with_development_secret(secrets: Mapping[str, tuple[str, ...]]) -> Sequence[str]:
    """The names of the gateways whose callbacks anybody can forge, for everybody knows the development secret."""
    return tuple(name for name, live in secrets.items() if CALLBACK_SECRET in live)


def build_gateways(
    settings: Mapping[str, GatewaySettings], secrets: Mapping[str, tuple[str, ...]] = _NO_SECRETS
) -> Mapping[str, Gateway]:
    """Make every gateway; nothing is sent yet. Those without ``secrets`` take no callbacks.

    None of them says a card number, whatever its provider does. Raises GatewaySettingsError.
    """
    built: dict[str, Gateway] = {}
    for name, each in settings.items():
        keys = [_key(each, secret, f"secret {number}") for number, secret in enumerate(secrets.get(name, ()), 1)]
        gateway = _adapter(name, each.adapter).build(each, keys)
        built[name] = MaskedGateway(gateway, keys)
        if gateway.honours_keys and gateway.idempotency_window_s <= 0:
            problem = "must be above 0: only within it the same key twice is surely one payment"
            raise GatewaySettingsError(name, "idempotency_window_s", problem)
    return MappingProxyType(built)


def _secrets(gateway: GatewaySettings, environ: Mapping[str, str], *, loopback: bool) -> tuple[str, ...]:
    variable = gateway.callback_secrets_env
    assert variable is not None  # its caller leaves the others out
    text = environ.get(variable, "").strip()
    if not text and not loopback:
        problem = f"{variable} is not set: it must hold the callbacks' secrets unless the service is bound to loopback"
        raise GatewaySettingsError(gateway.name, _SECRETS_KEY, problem)
    if not text:
        _key(gateway, CALLBACK_SECRET, f"{variable} is not set, and the development secret")
        return (CALLBACK_SECRET,)
    secrets = tuple(each.strip() for each in text.split(","))
    for position, secret in enumerate(secrets, 1):
        where = f"{variable}, secret {position}"
        _key(gateway, secret, where)
        if secret == CALLBACK_SECRET and not loopback:
            problem = f"{where} is the development secret, which everybody knows"
            raise GatewaySettingsError(gateway.name, _SECRETS_KEY, problem)
    return secrets


def _key(gateway: GatewaySettings, secret: str, where: str) -> bytes:
    """The key that ``secret`` stands for. The error, and what stands behind it, shows where it is and not the text."""
    make_key: Callable[[str], bytes] | None = getattr(_adapter(gateway.name, gateway.adapter), _CALLBACK_MEMBER, None)
    if make_key is None:
        raise GatewaySettingsError(gateway.name, _SECRETS_KEY, f"its adapter {gateway.adapter!r} takes no callbacks")
    try:
        key = make_key(secret)
    except ValueError:
        key = b""
    if len(key) < _KEY_BYTES_MIN:
        problem = f"{where} is no secret of this gateway, or stands for less than {_KEY_BYTES_MIN} bytes"
        raise GatewaySettingsError(gateway.name, _SECRETS_KEY, problem)
    return key


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
