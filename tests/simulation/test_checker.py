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
from tests.simulation.mutations_operators import OPERATORS, has_operator_commands
from tests.simulation.world import simulate

SEEDS_MAX: Final = 250
FOUND_BEFORE: Final[dict[tuple[int, Callable[[History], bool]], int]] = {
    (1, suits): 13,
    (1, has_callbacks): 1,
    (1, has_operator_commands): 57,
    (1, has_children): 8,
    (2, suits): 2,
    (2, has_callbacks): 2,
    (2, has_operator_commands): 24,
    (2, has_children): 77,
}
"""Where the search starts, by the number of processes: it takes long, and usually ends with the same seed."""
CASES: Final = [
    (suits, mutate, promise)
    for suits, mutations in [
        (suits, MUTATIONS),
        (has_callbacks, CALLBACKS),
        (has_operator_commands, OPERATORS),
        (has_children, CHILDREN),
    ]
    for mutate, promise in mutations
]


@pytest.fixture(scope="module", params=[1, 2])
def good(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Callable[[History], bool]], History]:
    """A function that finds a history, with one or two processes, that has all events for the mutations."""
    found: dict[Callable[[History], bool], History] = {}

    def histories(seed: int) -> Iterator[History]:
        for number in (*range(seed, SEEDS_MAX), *range(1, seed)):
            yield simulate(number, tmp_path_factory.mktemp("good"), processes=request.param)

    def find(suits: Callable[[History], bool]) -> History:
        if suits not in found:
            found[suits] = next(filter(suits, histories(FOUND_BEFORE[request.param, suits])))
            assert violations(found[suits]) == []
        return found[suits]

    return find


@pytest.mark.parametrize(("suits", "mutate", "promise"), CASES)
def test_a_mutated_history_is_reported(
    good: Callable[[Callable[[History], bool]], History],
    suits: Callable[[History], bool],
    mutate: Callable[[History], None],
    promise: str,
) -> None:
    """The checker reports each mutation under the number of the promise that it breaks."""
    history = History(copy.deepcopy(good(suits).entries))
    mutate(history)
    assert any(re.match(promise, found) for found in violations(history)), violations(history)
