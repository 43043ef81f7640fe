"""What holds for every test: no settings of the machine leak in, and Hypothesis measures no time."""

from __future__ import annotations

import os

import hypothesis
import pytest

# Machines that run tests are shared and slow at times; a test's outcome must not depend on that.
hypothesis.settings.register_profile("default-without-deadline", deadline=None, print_blob=True)
hypothesis.settings.load_profile("default-without-deadline")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that the developer exported are not seen by tests, nor by the processes that they start."""
    for name in list(os.environ):
        if name.startswith(("PAYMENTS_", "SIMULATOR_", "GUNICORN_")) and not name.startswith("PAYMENTS_TEST_"):
            monkeypatch.delenv(name)
