"""The callbacks' secrets: their variables, and no development secret for a service that others can reach."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateways import gateway_a
from gateways.development import CALLBACK_SECRET
from gateways.registry import build_gateways, callback_secrets, read_settings, with_development_secret
from gateways.settings import GatewaySettings, GatewaySettingsError
from tests.gateways.callback_signers import SIGNER_A, SIGNER_B, Signer, shows

URL = "http://127.0.0.1:9/"
ADAPTERS: Mapping[str, Signer] = {"gateway_a": SIGNER_A, "gateway_b": SIGNER_B}


@pytest.fixture
def tables() -> Mapping[str, GatewaySettings]:
    """A table for each adapter, and one for a gateway without callbacks."""
    return read_settings(
        {
            "one": {"adapter": "gateway_a", "url": URL, "callback_secrets_env": "A_SECRETS"},
            "two": {"adapter": "gateway_b", "url": URL, "callback_secrets_env": "B_SECRETS"},
            "quiet": {"adapter": "gateway_a", "url": URL},
        }
    )


@pytest.fixture(params=ADAPTERS)
def signer(request: pytest.FixtureRequest) -> tuple[Signer, Callable[..., tuple[str, ...]]]:
    """A provider with callbacks, and a function that reads its secrets from a variable."""
    settings = read_settings({"one": {"adapter": request.param, "url": URL, "callback_secrets_env": "SECRETS"}})

    def read(text: str, *, loopback: bool = False) -> tuple[str, ...]:
        return callback_secrets(settings, {"SECRETS": text}, loopback=loopback)["one"]

    return ADAPTERS[request.param], read


# --- which they are ---


def test_secrets_come_from_the_variables_that_the_tables_name(tables: Mapping[str, GatewaySettings]) -> None:
    """Secrets are separated by commas, newest first, without surrounding blanks.

    A table without a variable has none.
    """
    newest_a, older_a, _ = SIGNER_A.secrets
    newest_b, older_b, with_blanks = SIGNER_B.secrets
    environ = {"A_SECRETS": f"{newest_a},{older_a}", "B_SECRETS": f" {newest_b} ,\t{with_blanks}, {older_b}\n"}
    for loopback in (False, True):
        secrets = callback_secrets(tables, environ, loopback=loopback)
        assert secrets == {"one": (newest_a, older_a), "two": (newest_b, with_blanks, older_b)}
        assert with_development_secret(secrets) == ()


@pytest.mark.parametrize("unset", [{}, {"A_SECRETS": ""}, {"A_SECRETS": " \t"}])
def test_on_loopback_the_development_secret_replaces_missing_ones(
    tables: Mapping[str, GatewaySettings], unset: Mapping[str, str]
) -> None:
    """It applies to each gateway whose variable is unset or empty. ``with_development_secret`` lists these gateways."""
    secrets = callback_secrets(tables, {**unset, "B_SECRETS": SIGNER_B.secrets[0]}, loopback=True)
    assert secrets == {"one": (CALLBACK_SECRET,), "two": (SIGNER_B.secrets[0],)}
    assert with_development_secret(secrets) == ("one",)
    assert with_development_secret(callback_secrets(tables, {}, loopback=True)) == ("one", "two")


@pytest.mark.parametrize("unset", [{}, {"B_SECRETS": ""}, {"B_SECRETS": " "}])
def test_elsewhere_a_missing_secret_is_refused(tables: Mapping[str, GatewaySettings], unset: Mapping[str, str]) -> None:
    """The error is one line that names the gateway and the variable."""
    text = r"^gateway 'two', key 'callback_secrets_env': B_SECRETS is not set: [^\n]*$"
    with pytest.raises(GatewaySettingsError, match=text):
        callback_secrets(tables, {**unset, "A_SECRETS": SIGNER_A.secrets[0]}, loopback=False)


def test_elsewhere_the_development_secret_is_refused(
    signer: tuple[Signer, Callable[..., tuple[str, ...]]],
) -> None:
    """The development secret is public, so it is refused. On loopback it is accepted and listed."""
    signing, read = signer
    text = f"{signing.secrets[0]},{CALLBACK_SECRET}"
    with pytest.raises(GatewaySettingsError, match=r": SECRETS, secret 2 is the development secret, "):
        read(text)
    assert with_development_secret({"one": read(text, loopback=True)}) == ("one",)


# --- which they cannot be ---


@pytest.mark.parametrize("loopback", [False, True])
def test_an_invalid_secret_is_refused(
    signer: tuple[Signer, Callable[..., tuple[str, ...]]],
    *,
    loopback: bool,
) -> None:
    """The error names the variable and the position. Neither it nor its causes contain the secret."""
    signing, read = signer
    good, other, _ = signing.secrets
    for odd in (*signing.odd, ""):
        for number, text in enumerate((f"{odd},{good}", f"{good},{odd}", f"{good}, {other} ,{odd}"), 1):
            with pytest.raises(GatewaySettingsError) as raised:
                read(text, loopback=loopback)
            assert re.match(f"gateway 'one', key 'callback_secrets_env': SECRETS, secret {number} ", str(raised.value))
            assert not any(shows(raised.value, secret) for secret in (good, other, odd) if secret)


def test_a_gateway_is_not_built_with_an_invalid_secret(tables: Mapping[str, GatewaySettings]) -> None:
    """An invalid secret is refused whatever its source."""
    with pytest.raises(
        GatewaySettingsError, match=r"^gateway 'two', key 'callback_secrets_env': secret 2 is not a valid secret"
    ):
        build_gateways(tables, {"two": (SIGNER_B.secrets[0], "short")})


def test_only_gateways_with_secrets_accept_callbacks(tables: Mapping[str, GatewaySettings]) -> None:
    """Without secrets a gateway works, but has no callbacks. With secrets it does not expose them."""
    built = build_gateways(tables, {"two": SIGNER_B.secrets})
    assert [name for name, gateway in built.items() if gateway.callbacks is not None] == ["two"]
    assert [gateway.callbacks for gateway in build_gateways(tables).values()] == [None, None, None]
    for secret in SIGNER_B.secrets:
        assert secret not in repr(vars(built["two"].callbacks))


QUIET = '''
"""A gateway whose provider makes no callbacks."""
OPTIONS = {}


def build(settings, _callback_keys):
    raise AssertionError
'''


def test_an_adapter_without_callbacks_needs_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets for an adapter without callbacks are refused, because no callback would ever be accepted."""
    (tmp_path / "gateway_quiet.py").write_text(QUIET, "utf-8")
    monkeypatch.setattr("gateways.__path__", [str(tmp_path)])
    settings = read_settings({"one": {"adapter": "gateway_quiet", "url": URL, "callback_secrets_env": "SECRETS"}})
    with pytest.raises(GatewaySettingsError, match="its adapter 'gateway_quiet' takes no callbacks"):
        callback_secrets(settings, {}, loopback=True)


def test_an_adapter_that_cannot_use_the_development_secret(
    tables: Mapping[str, GatewaySettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the development secret is no valid secret of the provider, the error requires the variable."""
    monkeypatch.setattr(gateway_a, "callback_key", lambda _secret: b"")
    with pytest.raises(
        GatewaySettingsError, match=r": A_SECRETS is not set, and the development secret is not a valid secret "
    ):
        callback_secrets(tables, {}, loopback=True)
