"""Every variable of the contract is a setting with the contract's default."""

from __future__ import annotations

import pytest

from config.settings import Settings, variable_names

# The table of the contract, section 2; each default as an operator would write it.
CONTRACT = {
    "PAYMENTS_BIND": "127.0.0.1:8080",
    "PAYMENTS_WORKERS": "1",
    "PAYMENTS_DATABASE_URL": "sqlite:///var/payments.db",
    "PAYMENTS_MIGRATION_DATABASE_URL": "sqlite:///var/payments.db",
    "PAYMENTS_BROKER_URL": "",
    "PAYMENTS_EVENTS_MODE": "binary",
    "PAYMENTS_PUBLIC_URL": "http://127.0.0.1:8080",
    "PAYMENTS_ROLE": "all",
    "PAYMENTS_GATEWAYS_FILE": "config/gateways.toml",
    "PAYMENTS_DEFAULT_CURRENCY": "USD",
    "PAYMENTS_WITHDRAWALS": "checked",
    "PAYMENTS_AUTH": "auto",
    "PAYMENTS_REQUEST_DEADLINE_S": "10",
    "PAYMENTS_PASSIVATE_AFTER_S": "120",
    "PAYMENTS_LEASE_S": "15",
    "PAYMENTS_DEAD_LETTER_FIRST_S": "10",
    "PAYMENTS_DEAD_LETTER_MAX_S": "3600",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "12",
    "PAYMENTS_LOG_LEVEL": "INFO",
    "PAYMENTS_LOG_FORMAT": "json",
}

# Variables that were added to the contract.
ADDED = {"PAYMENTS_COMMANDS_MAX": "128"}
KNOWN = CONTRACT | ADDED


def test_names() -> None:
    """Settings reads exactly the variables of the contract and the added ones."""
    assert variable_names() == KNOWN.keys()


@pytest.mark.parametrize("name", KNOWN)
def test_defaults(name: str) -> None:
    """A missing variable has the same effect as the contract's default."""
    assert Settings.from_environ({name: KNOWN[name]}) == Settings.from_environ({})
