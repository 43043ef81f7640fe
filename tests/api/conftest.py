"""Fixtures: a payment system in memory and a client of the API in front of it, both as new for every test."""

from __future__ import annotations

import pytest

from tests.api.support import Api
from tests.api.world import World


@pytest.fixture(scope="session")
def application() -> tuple[World, Api]:
    """One application for all tests: building the OpenAPI document takes longer than most of them."""
    world = World()
    return world, Api(world)


@pytest.fixture
def world(application: tuple[World, Api]) -> World:
    """A payment system that has seen nothing yet."""
    application[0].reset()
    return application[0]


@pytest.fixture
def api(application: tuple[World, Api], world: World) -> Api:
    """The API in front of ``world``."""
    application[1].reset()
    return application[1]
