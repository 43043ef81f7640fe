"""The output of ``manage.py dev`` names a PostgreSQL database, never its password."""

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
            "dev has printed its instructions",
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
def test_a_password_is_hidden_in_every_place(url: str, shown: str) -> None:
    """A password before the host or among the parameters is not shown."""
    assert without_password(url) == shown
