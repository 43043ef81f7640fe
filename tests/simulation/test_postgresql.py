"""The same worlds on PostgreSQL: processes that conflict, freeze and lose their connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.checker import violations
from tests.simulation.databases import Server
from tests.simulation.roles import SHAPES, shape_of
from tests.simulation.world import simulate
from tests.store.postgresql_server import Schema, new_schema

# These tests run on one worker: other transactions on the same server would change what they read of its log.
pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture(scope="module")
def schema(postgresql_url: str) -> Iterator[Schema]:
    """Tables only for these tests, with a clock that they set."""
    with new_schema(postgresql_url) as schema:
        schema.make_tables()
        yield schema


SHAPES_ON_A_SERVER = [*dict.fromkeys(SHAPES)]


@pytest.mark.parametrize("seed", range(1, 13))
def test_no_promise_is_broken_on_a_server(schema: Schema, seed: int, tmp_path: Path) -> None:
    """All promises hold for the processes of each shape of a world on a PostgreSQL server."""
    shape = SHAPES_ON_A_SERVER[seed % len(SHAPES_ON_A_SERVER)]
    found = violations(simulate(seed, tmp_path, shape=shape, database=Server(schema)))
    assert not found, f"seed {seed}, {shape}: {found}"


@pytest.mark.parametrize(("seed", "shape"), [(13, "all,all"), (14, "api,processor,relay")])
def test_the_same_seed_gives_the_same_history_on_a_server(
    schema: Schema, seed: int, shape: str, tmp_path: Path
) -> None:
    """The server has no influence on the history."""
    first, second = (simulate(seed, tmp_path, shape=shape_of(shape), database=Server(schema)) for _ in range(2))
    assert first.to_bytes().splitlines() == second.to_bytes().splitlines()
