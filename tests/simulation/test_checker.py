"""The checker finds what it is there to find: each way to falsify a good history is seen."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest

from tests.simulation.checker import violations
from tests.simulation.doctoring import FALSIFICATIONS, suits
from tests.simulation.history import History
from tests.simulation.world import simulate


@pytest.fixture(scope="module", params=[1, 2])
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> History:
    """The first history, of one process and of two, in which everything happened that the falsifications below need."""
    for seed in range(1, 100):
        history = simulate(seed, tmp_path_factory.mktemp("good"), processes=request.param)
        if suits(history):
            assert violations(history) == []
            return history
    pytest.fail("the simulation has become too tame")


@pytest.mark.parametrize(("falsify", "promise"), FALSIFICATIONS)
def test_a_falsified_history_is_found_out(good: History, falsify: Callable[[History], None], promise: str) -> None:
    """Each promise has at least one way to be broken that the checker reports under that promise's number."""
    history = History(copy.deepcopy(good.entries))
    falsify(history)
    assert any(re.match(promise, found) for found in violations(history)), violations(history)
