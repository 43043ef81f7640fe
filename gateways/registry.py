"""Builds the gateways from the tables of the gateways file. It finds each adapter module by name.

It also reads the callbacks' secrets from the given environment. No error text contains a secret.
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
from domain.events import Kind
from gateways.development import CALLBACK_SECRET
from gateways.masking import MaskedGateway
from gateways.port import Gateway, LookupMeans
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
    def configured(
        cls, tables: Mapping[str, object], environ: Mapping[str, str], *, loopback: bool, callbacks: bool = True
    ) -> Self:
        """Make the gateways of ``tables``; nothing is sent yet. Raises GatewaySettingsError.

        ``callbacks``: whether this process accepts them. Otherwise it reads no secrets of callbacks.
        """
        settings = read_settings(tables)
        secrets = callback_secrets(settings, environ, loopback=loopback) if callbacks else _NO_SECRETS
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
            keyless = [facts for facts in gateway.operations.values() if not facts.honours_keys]
            if any(max(settings.settle_s, facts.not_found_after_s) < settings.timeout_s for facts in keyless):
                logger.warning(
                    "settle_s is short: a payment that this gateway executes later is paid twice",
                    extra={"fields": {"gateway": name, "settle_s": settings.settle_s, "timeout_s": settings.timeout_s}},
                )
        for name in with_development_secret(self.secrets):
            logger.warning(
                "callbacks are signed with the development secret, which is public",
                extra={"fields": {"gateway": name}},
            )

    def close(self) -> None:
        """Close the connections of all gateways."""
        for gateway in self.by_name.values():
            gateway.close()


class Adapter(Protocol):
    """What a module in gateways/ must provide to be an ``adapter``.

    If its provider sends callbacks, it also provides ``callback_key(secret: str) -> bytes``, which decodes the key of
    a secret. It raises ValueError for an invalid secret.
    """

    OPTIONS: Mapping[str, OptionValue]
    """The adapter's own keys in a table, with their defaults."""

    def build(self, settings: GatewaySettings, callback_keys: Sequence[bytes]) -> Gateway:
        """Make the gateway, without sending anything. No keys: no callbacks. Raises GatewaySettingsError."""


def read_settings(tables: Mapping[str, object]) -> Mapping[str, GatewaySettings]:
    """Check all tables of the gateways file; name to settings, in the file's order. Raises GatewaySettingsError."""
    settings: dict[str, GatewaySettings] = {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise GatewaySettingsError(name, None, f"must be a table, [{name}]")
        adapter = table.get("adapter")
        # Without a valid adapter name there are no options; the check of the table then reports the problem.
        options = _adapter(name, adapter).OPTIONS if isinstance(adapter, str) and adapter.isidentifier() else {}
        settings[name] = GatewaySettings.from_table(name, table, options)
    return MappingProxyType(settings)


def callback_secrets(
    settings: Mapping[str, GatewaySettings], environ: Mapping[str, str], *, loopback: bool
) -> Mapping[str, tuple[str, ...]]:
    """Read the live secrets of every gateway with callbacks from ``environ``, newest first.

    ``loopback``: only programs on this machine can reach the service. The development secret then replaces missing
    secrets; ``with_development_secret`` lists these gateways. Otherwise a missing secret, and always an invalid one,
    raises GatewaySettingsError, which names the variable.
    """
    return MappingProxyType(
        {
            name: _secrets(each, environ, loopback=loopback)
            for name, each in settings.items()
            if each.callback_secrets_env
        }
    )


def with_development_secret(secrets: Mapping[str, tuple[str, ...]]) -> Sequence[str]:
    """The names of the gateways with the public development secret, whose callbacks anyone can forge."""
    return tuple(name for name, live in secrets.items() if CALLBACK_SECRET in live)


def build_gateways(
    settings: Mapping[str, GatewaySettings], secrets: Mapping[str, tuple[str, ...]] = _NO_SECRETS
) -> Mapping[str, Gateway]:
    """Make every gateway, without sending anything. Gateways without ``secrets`` accept no callbacks.

    Each masks card numbers in everything from its provider. Raises GatewaySettingsError.
    """
    built: dict[str, Gateway] = {}
    for name, each in settings.items():
        keys = [_key(each, secret, f"secret {number}") for number, secret in enumerate(secrets.get(name, ()), 1)]
        gateway = _adapter(name, each.adapter).build(each, keys)
        built[name] = MaskedGateway(gateway, keys)
        problem = _contradiction(gateway)
        if problem is not None:
            raise GatewaySettingsError(name, None, f"the adapter {each.adapter!r} is wrong: {problem}")
    return MappingProxyType(built)


def _contradiction(gateway: Gateway) -> str | None:
    """What an adapter declares that cannot be true, or would put money at risk; None when nothing does."""
    for kind, facts in gateway.operations.items():
        if facts.lookup is LookupMeans.REPEAT and not facts.honours_keys:
            return f"a repeated {kind} without a key is a second {kind}, not a lookup"
        if facts.honours_keys and facts.not_found_after_s > facts.key_window_s:
            return f"a {kind} may be found only after its key is forgotten: not_found_after_s is above key_window_s"
    if gateway.holds and not {Kind.DEPOSIT, Kind.CAPTURE} <= gateway.operations.keys():
        return "it declares holds = True, but does not support both deposits and captures"
    return None


def _secrets(gateway: GatewaySettings, environ: Mapping[str, str], *, loopback: bool) -> tuple[str, ...]:
    variable = gateway.callback_secrets_env
    assert variable is not None  # the caller skips other gateways
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
            problem = f"{where} is the development secret, which is public"
            raise GatewaySettingsError(gateway.name, _SECRETS_KEY, problem)
    return secrets


def _key(gateway: GatewaySettings, secret: str, where: str) -> bytes:
    """Decode the key of ``secret``. The error and its causes show its position, never its text."""
    make_key: Callable[[str], bytes] | None = getattr(_adapter(gateway.name, gateway.adapter), _CALLBACK_MEMBER, None)
    if make_key is None:
        raise GatewaySettingsError(gateway.name, _SECRETS_KEY, f"its adapter {gateway.adapter!r} takes no callbacks")
    try:
        key = make_key(secret)
    except ValueError:
        key = b""
    if len(key) < _KEY_BYTES_MIN:
        problem = f"{where} is not a valid secret of this gateway, or has less than {_KEY_BYTES_MIN} bytes"
        raise GatewaySettingsError(gateway.name, _SECRETS_KEY, problem)
    return key


def _adapter(gateway: str, name: str) -> Adapter:
    """Import the module of gateways/ called ``name`` (an identifier, so neither a path nor another package)."""
    full_name = f"{gateways.__name__}.{name}"
    if importlib.util.find_spec(full_name) is not None:
        module = importlib.import_module(full_name)
        if all(hasattr(module, member) for member in _ADAPTER_MEMBERS):
            return cast("Adapter", module)  # a module satisfies the protocol by its members, checked above
    raise GatewaySettingsError(
        gateway, "adapter", f"{name!r} is not an adapter; known are {', '.join(_known_adapters())}"
    )


def _known_adapters() -> list[str]:
    # By file name, for the message only: importing each module to check it is not worth the cost.
    return sorted(each.name for each in pkgutil.iter_modules(gateways.__path__) if each.name.startswith("gateway_"))
