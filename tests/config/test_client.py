"""The settings of a client: the address of the service, and the key, which no error shows."""

from __future__ import annotations

import pytest

from config.client import ClientSettings
from config.settings import Settings, SettingsError

KEY = "pk_live_hidden"


@pytest.mark.parametrize(
    ("environ", "url", "shown"),
    [
        ({}, None, "http://127.0.0.1:8080"),
        ({"PAYMENTS_BIND": "0.0.0.0:9000"}, None, "http://127.0.0.1:9000"),
        ({"PAYMENTS_BIND": "[::]:9000"}, None, "http://[::1]:9000"),
        ({"PAYMENTS_BIND": "x:1", "PAYMENTS_URL": "https://pay.example.com"}, None, "https://pay.example.com:443"),
        ({"PAYMENTS_URL": "http://a"}, "http://b/prefix/", "http://b:80/prefix"),
        ({"PAYMENTS_URL": "http://[::1]:7"}, None, "http://[::1]:7"),
    ],
)
def test_the_address_of_the_service(environ: dict[str, str], url: str | None, shown: str) -> None:
    """``--url`` overrides PAYMENTS_URL, which overrides PAYMENTS_BIND."""
    assert str(ClientSettings.from_environ(environ, url=url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://a",
        "http://",
        "http://me:secret@a",
        "http://a?key=secret",
        "http://a#secret",
        "http://a:99999",
        "http://[a",
        "http://a/\r\nX: secret",
        "http://a b",
    ],
)
def test_an_invalid_url(url: str) -> None:
    """The refusal is one line that names the variable, and shows no more of the URL than its scheme."""
    for name, error in (
        ("PAYMENTS_URL", _refusal({"PAYMENTS_URL": url})),
        ("--url", _refusal({}, url=url)),
    ):
        assert error.startswith(f"{name} must be an address")
        assert "secret" not in error
        assert "\n" not in error


@pytest.mark.parametrize("key", [f"{KEY} ", f"{KEY}\r\nX: y", f"{KEY}ü", KEY * 50])
def test_an_invalid_key(key: str) -> None:
    """Such a key is empty or could forge a header. The refusal does not show it."""
    assert KEY not in _refusal({"PAYMENTS_API_KEY": key})


def test_the_key_is_not_shown() -> None:
    """The key is not shown when the settings are printed as a whole."""
    settings = ClientSettings.from_environ({"PAYMENTS_API_KEY": KEY})
    assert settings.api_key == KEY
    assert KEY not in f"{settings!r} {settings}"


def test_one_environment_for_service_and_client() -> None:
    """Service and client accept the same environment. A mistyped name is refused by both."""
    environ = {"PAYMENTS_URL": "http://a", "PAYMENTS_API_KEY": KEY, "PAYMENTS_LEASE_S": "7"}
    assert Settings.from_environ(environ).lease_s == 7
    assert ClientSettings.from_environ(environ).host == "a"
    assert "PAYMENTS_URL" in _refusal({"PAYMENTS_URLS": "http://a"})
    with pytest.raises(SettingsError, match="did you mean PAYMENTS_API_KEY"):
        Settings.from_environ({"PAYMENTS_API_KEYS": KEY})


def _refusal(environ: dict[str, str], *, url: str | None = None) -> str:
    with pytest.raises(SettingsError) as refused:
        ClientSettings.from_environ(environ, url=url)
    return str(refused.value)
