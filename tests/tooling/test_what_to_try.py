"""The output of ``manage.py dev`` about a PostgreSQL database: its name, never its password."""

from __future__ import annotations

import pytest

from cli.text import without_password
from tests.tooling.checkout import StubCheckout, end, wait_for


def test_the_database_without_its_password(stub_checkout: StubCheckout) -> None:
    """The data line names the database, and no line contains the password."""
    process = stub_checkout.manage("dev", PAYMENTS_DATABASE_URL="postgresql://payments:hidden@db:5432/payments")
    try:
        wait_for(
            lambda: process.poll() is not None or "Ctrl-C ends all of it" in stub_checkout.read("stdout"),
            "dev says what to try",
        )
        text = stub_checkout.read("stdout")
        assert "  data        postgresql://payments@db:5432/payments\n" in text
        assert "hidden" not in text + stub_checkout.read("stderr")
    finally:
        end(process)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://payments@127.0.0.1/payments", "postgresql://payments@127.0.0.1/payments"),
        ("postgresql://payments:hid%40den@a:1,b:2/payments", "postgresql://payments@a:1,b:2/payments"),
        ("postgresql:///payments?host=/run&password=hidden", "postgresql:///payments"),
        ("postgresql://me:12?hidden@db/payments", "postgresql://me@db/payments"),
        ("postgresql://db/payments?user=me&password=hid@den", "postgresql://db/payments"),
        ("postgresql://db?password=hidden", "postgresql://db"),
    ],
)
def test_wherever_a_password_stands(url: str, shown: str) -> None:
    """Neither its place before the host nor one among the parameters is shown."""
    assert without_password(url) == shown
