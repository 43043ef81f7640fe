"""The settings of a gateway: valid tables, and one clear line for each invalid one."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from gateways.settings import BreakerSettings, GatewaySettings, GatewaySettingsError

CHECKOUT = Path(__file__).parents[2]
MINIMAL: dict[str, object] = {"adapter": "gateway_a", "url": "https://pay.example.com/v1"}


def test_a_minimal_table_has_the_documented_defaults() -> None:
    """Only adapter and url are required; every other key has its default."""
    settings = GatewaySettings.from_table("one", MINIMAL)
    assert settings == GatewaySettings(
        name="one",
        adapter="gateway_a",
        url="https://pay.example.com/v1",
        timeout_s=5.0,
        max_retries=3,
        max_concurrent=20,
        callback_secrets_env=None,
        lookup_after_s=(5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0),
        settle_s=60.0,
        breaker=BreakerSettings(window_s=10.0, request_volume=5, error_percent=50.0, sleep_s=10.0),
        options={},
    )


def test_the_file_of_the_checkout_has_the_documented_values() -> None:
    """config/gateways.toml holds both gateways with their documented values."""
    tables = tomllib.loads((CHECKOUT / "config/gateways.toml").read_text("utf-8"))
    settings = GatewaySettings.from_table("gatewayA", tables["gatewayA"])
    assert settings == GatewaySettings(
        name="gatewayA",
        adapter="gateway_a",
        url="http://127.0.0.1:8090/gatewayA",
        callback_secrets_env="PAYMENTS_GATEWAY_A_SECRETS",
    )
    assert GatewaySettings.from_table("gatewayB", tables["gatewayB"]) == replace(
        settings,
        name="gatewayB",
        adapter="gateway_b",
        url="http://127.0.0.1:8090/gatewayB",
        callback_secrets_env="PAYMENTS_GATEWAY_B_SECRETS",
    )


def test_every_key_can_be_set() -> None:
    """Each key has its effect in its field."""
    settings = GatewaySettings.from_table(
        "one",
        {
            **MINIMAL,
            "url": "http://[::1]:8090/pay/",
            "timeout_s": 1,
            "max_retries": 0,
            "max_concurrent": 7,
            "callback_secrets_env": "SECRETS",
            "lookup_after_s": [1, 2.5],
            "settle_s": 0,
            "breaker": {"window_s": 1, "request_volume": 2, "error_percent": 3, "sleep_s": 4},
            "merchant": "m-1",
            "window_s": 30,
        },
        {"merchant": "", "window_s": 60.0, "pages": 1},
    )
    assert settings == GatewaySettings(
        name="one",
        adapter="gateway_a",
        url="http://[::1]:8090/pay",
        timeout_s=1.0,
        max_retries=0,
        max_concurrent=7,
        callback_secrets_env="SECRETS",
        lookup_after_s=(1.0, 2.5),
        settle_s=0.0,
        breaker=BreakerSettings(1.0, 2, 3.0, 4.0),
        options={"merchant": "m-1", "window_s": 30.0, "pages": 1},
    )
    assert settings.number("window_s") == 30.0


BAD: list[tuple[str, object]] = [
    *(("adapter", bad) for bad in ["", "../x", "gateway-a", "Gateway_A", "os.path", 5, ["gateway_a"]]),
    *(
        ("url", bad)
        for bad in [
            "",
            "pay.example.com",
            "ftp://pay.example.com",
            "http://",
            "http:///path",
            "http://host:99999",
            "http://host:0",
            "http://host:port",
            "http://ho st/",
            "http://host/\n",
            "http://host/?a=1",
            "http://host/#x",
            "http://höst/",
            "http://[::1",
            "http://a_b/",
            "https://user:hunter2@host/",
            5,
        ]
    ),
    *(("timeout_s", bad) for bad in [0, -1, "5", True, math.nan, math.inf, 301, [5], 10**400]),
    *(("max_retries", bad) for bad in [-1, 1.0, "3", True, 101]),
    *(("max_concurrent", bad) for bad in [0, -1, 2.5, "20", 10_001]),
    *(("callback_secrets_env", bad) for bad in ["", "lower", "A B", "1A", "A=B", 5]),
    *(("lookup_after_s", bad) for bad in [[], 5, "5", [0], [5, -1], [5, "30"], [math.nan], [True], [1] * 51]),
    *(("settle_s", bad) for bad in [-1, "60", 86_401, math.nan]),
    *(("breaker", bad) for bad in [5, "on", [1]]),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_is_refused_in_one_line(key: str, value: object) -> None:
    """The error names gateway and key in one line. It does not repeat a URL, which may contain a password."""
    with pytest.raises(GatewaySettingsError) as error:
        GatewaySettings.from_table("one", {**MINIMAL, key: value})
    text = str(error.value)
    assert text.startswith(f"gateway 'one', key '{key}': ")
    assert "\n" not in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window_s", 0),
        ("window_s", "10"),
        ("request_volume", 0),
        ("request_volume", 2.5),
        ("error_percent", 0),
        ("error_percent", 101),
        ("sleep_s", -1),
        ("sleep_s", math.nan),
        ("slep_s", 5),
    ],
)
def test_a_bad_value_of_the_breaker_is_refused(key: str, value: object) -> None:
    """Keys of the breaker are named with their table."""
    with pytest.raises(GatewaySettingsError, match=rf"^gateway 'one', key 'breaker\.{key}': "):
        GatewaySettings.from_table("one", {**MINIMAL, "breaker": {key: value}})


@pytest.mark.parametrize("key", ["adapter", "url"])
def test_a_missing_required_key_is_refused(key: str) -> None:
    """A table without adapter or url is refused."""
    table = {name: value for name, value in MINIMAL.items() if name != key}
    with pytest.raises(GatewaySettingsError, match=f"^gateway 'one', key '{key}': is missing$"):
        GatewaySettings.from_table("one", table)


@pytest.mark.parametrize("key", ["timeout", "Timeout_s", "max_retry", "a\nb", "idempotency_window_s"])
def test_unknown_keys_are_refused(key: str) -> None:
    """A misspelt key, or one of another adapter, is refused: otherwise its default would apply unnoticed."""
    text = r"^gateway 'one', key '.*': is not known; known are adapter, "
    with pytest.raises(GatewaySettingsError, match=text) as error:
        GatewaySettings.from_table("one", {**MINIMAL, key: 1})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "a b", "1a", "a/b", "a\n", "x" * 65, "ä"])
def test_names_are_plain(name: str) -> None:
    """A gateway's name consists of letters, digits, - and _, because URLs and logs contain it."""
    with pytest.raises(GatewaySettingsError, match="a name is"):
        GatewaySettings.from_table(name, MINIMAL)


@pytest.mark.parametrize(
    ("default", "value"),
    [("", 5), ("", "two\nlines"), (60.0, "60"), (60.0, -1), (60.0, math.inf), (3, 2.5), (3, -1), (3, True)],
)
def test_options_of_an_adapter_have_the_type_of_their_default(default: str | float, value: object) -> None:
    """An adapter's own key is checked like any other."""
    with pytest.raises(GatewaySettingsError, match=r"^gateway 'one', key 'extra': must be "):
        GatewaySettings.from_table("one", {**MINIMAL, "extra": value}, {"extra": default})
