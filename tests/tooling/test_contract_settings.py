"""Every variable that the contract names is a setting, and its default is the one that the contract gives."""

from __future__ import annotations

import pytest

from config.settings import Settings, variable_names

# The table of the contract, section 2, with each default as an operator would write it.
CONTRACT = {
    "PAYMENTS_BIND": "127.0.0.1:8080",
    "PAYMENTS_WORKERS": "1",
    "PAYMENTS_DATABASE_URL": "sqlite:///var/payments.db",
    "PAYMENTS_MIGRATION_DATABASE_URL": "sqlite:///var/payments.db",
    "PAYMENTS_BROKER_URL": "",
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

# What was added to it.
ADDED = {"PAYMENTS_COMMANDS_MAX": "128"}
KNOWN = CONTRACT | ADDED


def test_names() -> None:
    """Settings reads exactly the variables of the contract, and those that were added."""
    assert variable_names() == KNOWN.keys()


@pytest.mark.parametrize("name", KNOWN)
def test_defaults(name: str) -> None:
    """Leaving a variable out is the same as writing the contract's default."""
    assert Settings.from_environ({name: KNOWN[name]}) == Settings.from_environ({})
