"""Tests of the checker: each mutation of a good history is reported."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.simulation.checker import violations
from tests.simulation.history import History
from tests.simulation.mutations import MUTATIONS, suits
from tests.simulation.mutations_callbacks import CALLBACKS, has_callbacks
from tests.simulation.mutations_children import CHILDREN, has_children
from tests.simulation.mutations_events import EVENTS, has_deliveries
from tests.simulation.mutations_operators import OPERATORS, has_operator_commands
from tests.simulation.mutations_roles import ROLES
from tests.simulation.roles import Shape, shape_of
from tests.simulation.world import simulate

SEEDS_MAX: Final = 400
ONE: Final = shape_of("all")
TWO: Final = shape_of("all,all")
ROLES_APART: Final = shape_of("api,processor,relay,relay")
Suits = Callable[[History], bool]
FOUND_BEFORE: Final[dict[tuple[Shape, Suits], int]] = {
    (ONE, suits): 40,
    (ONE, has_callbacks): 1,
    (ONE, has_operator_commands): 264,
    (ONE, has_children): 30,
    (TWO, suits): 36,
    (TWO, has_callbacks): 1,
    (TWO, has_operator_commands): 316,
    (TWO, has_children): 36,
    (ROLES_APART, has_deliveries): 38,
}
"""Where the search starts, by the roles of the processes: it takes long, and usually ends with the same seed."""
CASES: Final = [
    (shape, suits, mutate, promise)
    for shapes, suits, mutations in [
        ([ONE, TWO], suits, MUTATIONS),
        ([ONE, TWO], has_callbacks, CALLBACKS),
        ([ONE, TWO], has_operator_commands, OPERATORS),
        ([ONE, TWO], has_children, CHILDREN),
        ([ROLES_APART], has_deliveries, [*EVENTS, *ROLES]),
    ]
    for shape in shapes
    for mutate, promise in mutations
]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Shape, Suits], History]:
    """A function that finds a history, with processes of these roles, that has all events for the mutations."""
    found: dict[tuple[Shape, Suits], History] = {}

    def histories(shape: Shape, seed: int) -> Iterator[History]:
        for number in (*range(seed, SEEDS_MAX), *range(1, seed)):
            yield simulate(number, tmp_path_factory.mktemp("good"), shape=shape)

    def find(shape: Shape, suits: Suits) -> History:
        if (shape, suits) not in found:
            history = next(filter(suits, histories(shape, FOUND_BEFORE[shape, suits])))
            assert violations(history) == []
            found[shape, suits] = history
        return found[shape, suits]

    return find


@pytest.mark.parametrize(("shape", "suits", "mutate", "promise"), CASES)
def test_a_mutated_history_is_reported(
    good: Callable[[Shape, Suits], History],
    shape: Shape,
    suits: Suits,
    mutate: Callable[[History], None],
    promise: str,
) -> None:
    """The checker reports each mutation under the number of the promise that it breaks."""
    history = History(copy.deepcopy(good(shape, suits).entries))
    mutate(history)
    assert any(re.match(promise, found) for found in violations(history)), violations(history)
