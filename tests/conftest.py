"""What holds for every test: no settings of the machine leak in, Hypothesis measures no time, a PostgreSQL is there."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.postgresql.servers import shared_server

# Machines that run tests are shared and slow at times; a test's outcome must not depend on that.
hypothesis.settings.register_profile("default-without-deadline", deadline=None, print_blob=True)
hypothesis.settings.load_profile("default-without-deadline")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that the developer exported are not seen by tests, nor by the processes that they start."""
    for name in list(os.environ):
        if name.startswith(("PAYMENTS_", "SIMULATOR_", "GUNICORN_")) and not name.startswith("PAYMENTS_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A server for all tests: what PAYMENTS_TEST_DATABASE_URL names, a local one, or one out of a package."""
    with shared_server() as url:
        yield url
