"""The settings of one gateway, checked in full: the content of its table in the gateways file.

The fields of ``GatewaySettings`` and ``BreakerSettings`` declare all keys with their defaults and bounds
(``msgspec.Meta``): a new setting is one field. This module reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

OptionValue = str | int | float
_NO_OPTIONS: Final[Mapping[str, OptionValue]] = MappingProxyType({})

DAY_S: Final = 86_400.0

_GATEWAY_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_URL_CHARACTERS: Final = re.compile(r"[!-~]{1,500}")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_NUMBERS: Final[Mapping[type, str]] = {int: "a whole number", float: "a number"}

_EnvironmentName = Annotated[
    str, Meta(pattern=r"^[A-Z_][A-Z0-9_]{0,127}\Z", description="the name of an environment variable, in capitals")
]
_Wait = Annotated[float, Meta(ge=0.001, le=2_592_000)]


class GatewaySettingsError(ValueError):
    """A table is not usable. The text is one line that names the gateway and the key."""

    def __init__(self, gateway: str, key: str | None, problem: str) -> None:
        where = f"gateway {gateway!r}" if key is None else f"gateway {gateway!r}, key {key!r}"
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """The trip rule of a circuit breaker, and its time open. The defaults follow Hystrix."""

    window_s: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    request_volume: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    error_percent: Annotated[float, Meta(ge=1, le=100)] = 50.0
    sleep_s: Annotated[float, Meta(ge=0.001, le=3600)] = 10.0


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings of one gateway. ``options`` are the keys of its adapter."""

    name: str
    adapter: Annotated[
        str,
        Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z", description="the name of a module in gateways/, such as gateway_a"),
    ]
    url: Annotated[str, Meta(description="an http or https URL such as https://pay.example.com/v1")]
    timeout_s: Annotated[float, Meta(ge=0.001, le=300)] = 5.0
    max_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    max_concurrent: Annotated[int, Meta(ge=1, le=10_000)] = 20
    callback_secrets_env: _EnvironmentName | None = None
    lookup_after_s: Annotated[
        tuple[_Wait, ...],
        Meta(min_length=1, max_length=50, description="a list of 1 to 50 numbers of seconds from 0.001 to 2592000"),
    ] = (5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0)
    settle_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    authorization_expires_s: Annotated[float, Meta(ge=1, le=31_536_000)] = 604_800.0
    breaker: BreakerSettings = BreakerSettings()
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    @classmethod
    def from_table(
        cls, name: str, table: Mapping[str, object], options: Mapping[str, OptionValue] = _NO_OPTIONS
    ) -> GatewaySettings:
        """Check the table of the gateway ``name`` and fill in the defaults.

        ``options`` are the adapter's own keys with their defaults. The default's type is the type of the value, and
        numbers must not be negative. Raises GatewaySettingsError.
        """
        if _GATEWAY_NAME.fullmatch(name) is None:
            raise GatewaySettingsError(name, None, "a name is 1 to 64 letters, digits, - and _, a letter first")
        hints = {key: _hint_of(default) for key, default in options.items()} | _hints(cls)
        given = _checked(name, "", table, hints)
        for key in ("adapter", "url"):
            if key not in given:
                raise GatewaySettingsError(name, key, "is missing")
        given["url"] = _url(name, given["url"])
        given["options"] = MappingProxyType({key: given.pop(key, default) for key, default in options.items()})
        return cls(name=name, **given)

    def number(self, option: str) -> float:
        """The value of a numeric option of the adapter."""
        value = self.options[option]
        assert not isinstance(value, str)  # from_table checked it against its default
        return float(value)

    def positive(self, option: str) -> float:
        """The value of a numeric option of the adapter that must be above 0. Raises GatewaySettingsError."""
        value = self.number(option)
        if value <= 0:
            raise GatewaySettingsError(self.name, option, "must be above 0")
        return value


def _hints(table: type) -> dict[str, Any]:
    """The keys of a table with the types and bounds of their values."""
    hints = get_type_hints(table, include_extras=True)
    return {each.name: hints[each.name] for each in fields(table) if each.name not in {"name", "options"}}


def _hint_of(default: OptionValue) -> Any:  # noqa: ANN401 - any type of a field
    if isinstance(default, str):
        return Annotated[str, Meta(description="a text of one line")]
    if isinstance(default, int):
        return Annotated[int, Meta(ge=0, le=2**31)]
    return Annotated[float, Meta(ge=0, le=1_000_000_000)]


def _checked(gateway: str, prefix: str, table: Mapping[str, object], hints: Mapping[str, Any]) -> dict[str, Any]:
    """The converted values of ``table``. A misspelt key is refused: its default would apply unnoticed."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise GatewaySettingsError(gateway, f"{prefix}{key}", f"is not known; known are {known}")
        values[key] = _value(gateway, f"{prefix}{key}", value, hints[key])
    return values


def _value(gateway: str, key: str, value: object, hint: Any) -> object:  # noqa: ANN401 - any type of a field
    if hint is BreakerSettings:
        if not isinstance(value, Mapping):
            raise GatewaySettingsError(gateway, key, "must be a table")
        return BreakerSettings(**_checked(gateway, f"{key}.", value, _hints(BreakerSettings)))
    if type(None) in get_args(hint):  # optional, and a table has no null
        hint = get_args(hint)[0]
    with suppress(msgspec.ValidationError):
        converted: object = msgspec.convert(value, hint)
        if not isinstance(converted, str) or converted.isprintable():
            return converted
    kind, rules = get_args(hint)
    accepted = rules.description or f"{_NUMBERS[kind]} from {rules.ge} to {rules.le}"
    raise GatewaySettingsError(gateway, key, f"must be {accepted}")


def _url(gateway: str, value: object) -> str:
    """The URL without a slash at its end. No error repeats it, because it may contain a password by mistake."""
    problem = "must be an http or https URL such as https://pay.example.com/v1"
    if not isinstance(value, str) or _URL_CHARACTERS.fullmatch(value) is None:
        raise GatewaySettingsError(gateway, "url", problem)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise GatewaySettingsError(gateway, "url", problem) from None
    if parts.scheme not in {"http", "https"} or not host or _HOST.fullmatch(host) is None or port == 0:
        raise GatewaySettingsError(gateway, "url", problem)
    if "@" in parts.netloc:
        raise GatewaySettingsError(gateway, "url", "must not contain a user or a password")
    if "?" in value or "#" in value:
        raise GatewaySettingsError(gateway, "url", "must not contain a query or a fragment")
    return value.rstrip("/")
