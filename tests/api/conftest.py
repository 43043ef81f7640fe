"""Fixtures: a payment system in memory, and a client of its API. Every test starts with an empty system."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.live import Live, living
from tests.api.support import Api
from tests.api.world import World


@pytest.fixture(scope="session")
def application() -> tuple[World, Api]:
    """One application for all tests: building the OpenAPI document takes longer than most of the tests."""
    world = World()
    return world, Api(world)


@pytest.fixture
def world(application: tuple[World, Api]) -> World:
    """A payment system without any requests so far."""
    application[0].reset()
    return application[0]


@pytest.fixture
def api(application: tuple[World, Api], world: World) -> Api:
    """The API in front of ``world``."""
    application[1].reset()
    return application[1]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A real service for tests that change nothing in it."""
    with living(tmp_path_factory.mktemp("live")) as service:
        yield service


@pytest.fixture(scope="session")
def live_api(live: Live) -> Api:
    """The API in front of ``live``."""
    return Api(live)
