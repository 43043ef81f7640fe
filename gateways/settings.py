"""What one table of the gateways file says, checked in full; knows no files and no TOML, only what was read of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

OptionValue = str | int | float
_NO_OPTIONS: Final[Mapping[str, OptionValue]] = MappingProxyType({})

DAY_S: Final = 86_400.0

_GATEWAY_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_ADAPTER: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_URL_CHARACTERS: Final = re.compile(r"[!-~]{1,500}")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_LOOKUPS_MAX: Final = 50
_LOOKUP_AFTER_S: Final = (5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0)


class GatewaySettingsError(ValueError):
    """A table cannot be used. The text is one line that names the gateway and the key."""

    def __init__(self, gateway: str, key: str | None, problem: str) -> None:
        where = f"gateway {gateway!r}" if key is None else f"gateway {gateway!r}, key {key!r}"
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When calls to a gateway stop for a while. The defaults are those of Netflix's Hystrix."""

    window_s: float = 10.0
    request_volume: int = 5
    error_percent: float = 50.0
    sleep_s: float = 10.0


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """One gateway's table with its defaults. ``options`` are the settings of its adapter."""

    name: str
    adapter: str
    url: str
    timeout_s: float = 5.0
    max_retries: int = 3
    max_concurrent: int = 20
    callback_secrets_env: str | None = None
    lookup_after_s: tuple[float, ...] = _LOOKUP_AFTER_S
    settle_s: float = 60.0
    breaker: BreakerSettings = BreakerSettings()
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    @classmethod
    def from_table(
        cls, name: str, table: Mapping[str, object], options: Mapping[str, OptionValue] = _NO_OPTIONS
    ) -> GatewaySettings:
        """Check the table of the gateway ``name`` and fill in what it leaves out.

        ``options`` are the adapter's own keys with their defaults; the default's type is the type of the value, and
        numbers must not be negative. Raises GatewaySettingsError.
        """
        if _GATEWAY_NAME.fullmatch(name) is None:
            raise GatewaySettingsError(name, None, "a name is 1 to 64 letters, digits, - and _, a letter first")
        reader = _Reader(name, table)
        settings = cls(
            name=name,
            adapter=reader.text("adapter", _ADAPTER, "the name of a module in gateways/, such as gateway_a"),
            url=_url(name, reader.required("url")),
            timeout_s=reader.number("timeout_s", 5.0, 0.001, 300.0),
            max_retries=reader.integer("max_retries", 3, 0, 100),
            max_concurrent=reader.integer("max_concurrent", 20, 1, 10_000),
            callback_secrets_env=reader.text(
                "callback_secrets_env", _ENVIRONMENT_NAME, "the name of an environment variable, in capitals"
            )
            if "callback_secrets_env" in table
            else None,
            lookup_after_s=reader.numbers("lookup_after_s", _LOOKUP_AFTER_S, 0.001, 30 * DAY_S),
            settle_s=reader.number("settle_s", 60.0, 0.0, DAY_S),
            breaker=_breaker(reader.subtable("breaker")),
            options=MappingProxyType({key: reader.option(key, default) for key, default in options.items()}),
        )
        reader.finish()
        return settings

    def number(self, option: str) -> float:
        """The value of one of the adapter's own options that is a number."""
        value = self.options[option]
        assert not isinstance(value, str)  # option() checked it against its default
        return float(value)


def _breaker(reader: _Reader) -> BreakerSettings:
    settings = BreakerSettings(
        window_s=reader.number("window_s", 10.0, 0.1, 3600.0),
        request_volume=reader.integer("request_volume", 5, 1, 1_000_000),
        error_percent=reader.number("error_percent", 50.0, 1.0, 100.0),
        sleep_s=reader.number("sleep_s", 10.0, 0.001, 3600.0),
    )
    reader.finish()
    return settings


class _Reader:
    """Takes the values of one table out, each with its check, and remembers which keys nobody asked for."""

    def __init__(self, gateway: str, table: Mapping[str, object], prefix: str = "") -> None:
        self._gateway, self._table, self._prefix = gateway, table, prefix
        self._asked: set[str] = set()

    def finish(self) -> None:
        """Refuse keys that mean nothing here: a misspelt key must not quietly leave its default in force."""
        for key in self._table:
            if key not in self._asked:
                raise self._error(key, f"is not known; known are {', '.join(sorted(self._asked))}")

    def required(self, key: str) -> object:
        value = self._get(key)
        if value is None:
            raise self._error(key, "is missing")
        return value

    def text(self, key: str, pattern: re.Pattern[str], what: str) -> str:
        value = self.required(key)
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise self._error(key, f"must be {what}")
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        return self._number(key, self._get(key, default), low, high)

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._error(key, f"must be a whole number from {low} to {high}")
        return value

    def numbers(self, key: str, default: tuple[float, ...], low: float, high: float) -> tuple[float, ...]:
        value = self._get(key, default)
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= _LOOKUPS_MAX:
            raise self._error(key, f"must be a list of 1 to {_LOOKUPS_MAX} numbers of seconds")
        return tuple(self._number(key, item, low, high) for item in value)

    def option(self, key: str, default: OptionValue) -> OptionValue:
        if isinstance(default, str):
            value = self._get(key, default)
            if not isinstance(value, str) or not value.isprintable():
                raise self._error(key, "must be a text of one line")
            return value
        if isinstance(default, int):
            return self.integer(key, default, 0, 2**31)
        return self.number(key, default, 0.0, 1e9)

    def subtable(self, key: str) -> _Reader:
        value = self._get(key, {})
        if not isinstance(value, Mapping):
            raise self._error(key, "must be a table")
        return _Reader(self._gateway, value, f"{self._prefix}{key}.")

    def _get(self, key: str, default: object = None) -> object:
        self._asked.add(key)
        return self._table.get(key, default)

    def _number(self, key: str, value: object, low: float, high: float) -> float:
        # NaN lies in no range.
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._error(key, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def _error(self, key: str, problem: str) -> GatewaySettingsError:
        return GatewaySettingsError(self._gateway, f"{self._prefix}{key}", problem)


def _url(gateway: str, value: object) -> str:
    """The URL without a slash at its end. No error repeats it: it may hold a password that does not belong there."""
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
        raise GatewaySettingsError(gateway, "url", "must not hold a user or a password")
    if "?" in value or "#" in value:
        raise GatewaySettingsError(gateway, "url", "must not hold a query or a fragment")
    return value.rstrip("/")
