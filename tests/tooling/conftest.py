"""Fixtures of tests that start processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tooling.checkout import StubCheckout


@pytest.fixture
def stub_checkout(tmp_path: Path) -> StubCheckout:
    """A separate checkout with its own ports."""
    return StubCheckout(tmp_path)
