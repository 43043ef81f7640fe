"""Supervisors of one gateway with three slots."""

from __future__ import annotations

import pytest

from tests.actors.gateways.fixtures import Keyless, Supervised


@pytest.fixture
def supervised() -> Supervised:
    """A supervisor of a gateway that honours keys."""
    return Supervised()


@pytest.fixture
def keyless() -> Keyless:
    """A supervisor of a gateway without keys, in place of the customers of that name elsewhere."""
    return Keyless()
