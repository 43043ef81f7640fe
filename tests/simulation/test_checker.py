"""The checker finds what it is there to find: each way to falsify a good history is seen."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.simulation.checker import violations
from tests.simulation.doctoring_callbacks import CALLBACKS, said_much
from tests.simulation.doctoring_people import PEOPLE, ordered_much
from tests.simulation.history import History
from tests.simulation.mutations import FALSIFICATIONS, suits
from tests.simulation.world import simulate

SEEDS_MAX: Final = 250
CASES: Final = [
    (suits, falsify, promise)
    for suits, falsifications in [(suits, FALSIFICATIONS), (said_much, CALLBACKS), (ordered_much, PEOPLE)]
    for falsify, promise in falsifications
]


# One worker of the test run needs the histories of one process, the other one those of two.
@pytest.fixture(
    scope="module",
    params=[pytest.param(number, marks=pytest.mark.xdist_group(f"checker of {number}")) for number in (1, 2)],
)
def good(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Callable[[History], bool]], History]:
    """Finds the first history, of one process or of two, in which everything happened that falsifications need."""
    known: list[History] = []
    found: dict[Callable[[History], bool], History] = {}

    def histories() -> Iterator[History]:
        yield from known
        for seed in range(len(known) + 1, SEEDS_MAX):
            known.append(simulate(seed, tmp_path_factory.mktemp("good"), processes=request.param))
            yield known[-1]

    def find(suits: Callable[[History], bool]) -> History:
        if suits not in found:
            found[suits] = next(filter(suits, histories()))
            assert violations(found[suits]) == []
        return found[suits]

    return find


@pytest.mark.parametrize(("suits", "falsify", "promise"), CASES)
def test_a_falsified_history_is_found_out(
    good: Callable[[Callable[[History], bool]], History],
    suits: Callable[[History], bool],
    falsify: Callable[[History], None],
    promise: str,
) -> None:
    """Each promise has at least one way to be broken that the checker reports under that promise's number."""
    history = History(copy.deepcopy(good(suits).entries))
    falsify(history)
    assert any(re.match(promise, found) for found in violations(history)), violations(history)
