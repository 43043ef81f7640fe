"""Tests of the mutation runner: what counts as caught, what does not, and how an outdated table is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.__main__ import markdown
from tests.mutants.mutating import (
    CAUGHT,
    CHECKOUT,
    PROMISES,
    SURVIVED,
    UNJUDGED,
    Mutant,
    judge,
    judge_all,
    problems,
    read_table,
)

LIMIT = """
import time

WAIT = False


def fits(amount):
    while WAIT:
        time.sleep(0.01)
    return 0 < amount <= 10
"""
GUARD = """
import pytest

from limit import fits


def test_upper_end():
    assert fits(10) and not fits(11)


@pytest.fixture
def fitting():
    assert fits(10)


def test_with_a_fixture(fitting):
    pass


def test_that_is_skipped():
    pytest.skip("not here")
"""
UPPER = Mutant(
    name="upper-end",
    file="limit.py",
    old="<= 10",
    new="<= 11",
    promises=(1,),
    breaks="too much fits",
    tests=("test_limit.py::test_upper_end",),
)
LOWER = replace(UPPER, name="lower-end", old="0 <", new="-1 <", breaks="nothing fits as well")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with one function, and a test of one of its two limits."""
    (tmp_path / "limit.py").write_text(LIMIT)
    (tmp_path / "test_limit.py").write_text(GUARD)
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\npythonpath = .\n")
    return tmp_path


def test_caught_and_survived(tree: Path) -> None:
    """A mutant is caught if one of its tests fails, and survives if all pass; the checkout stays unchanged."""
    results = {result.mutant.name: result for result in judge_all([UPPER, LOWER], tree, jobs=2)}
    assert (results["upper-end"].verdict, results["lower-end"].verdict) == (CAUGHT, SURVIVED)
    assert results["upper-end"].by == "test_limit.py::test_upper_end"
    assert (tree / "limit.py").read_text() == LIMIT
    page = markdown(list(results.values()), "2 mutants")
    assert "| upper-end | `limit.py` | 1 | too much fits | caught |" in page
    assert "| 1 | 2 | 1 |" in page


@pytest.mark.parametrize(
    "mutant",
    [
        replace(UPPER, name="name", new="<= unheard_of"),
        replace(UPPER, name="import", old="WAIT = False", new="import unheard_of"),
        replace(UPPER, name="fixture", tests=("test_limit.py::test_with_a_fixture",), new="<= 9"),
    ],
    ids=lambda mutant: mutant.name,
)
def test_broken_is_not_caught(tree: Path, mutant: Mutant) -> None:
    """Code that does not run, or a test that does not start, does not count as caught."""
    assert judge(mutant, tree).verdict == UNJUDGED
    assert (tree / "limit.py").read_text() == LIMIT


@pytest.mark.parametrize(("hangs", "verdict"), [(False, UNJUDGED), (True, CAUGHT)])
def test_hanging_counts_where_the_table_says_so(tree: Path, *, hangs: bool, verdict: str) -> None:
    """A timeout is not judged, unless the table states that the mutant hangs."""
    mutant = replace(UPPER, old="WAIT = False", new="WAIT = True", hangs=hangs)
    assert judge(mutant, tree, timeout_s=5.0).verdict == verdict


@pytest.mark.parametrize("test", ["test_limit.py::test_that_is_skipped", "test_limit.py::test_that_is_not_there"])
def test_only_tests_that_pass_can_catch(tree: Path, test: str) -> None:
    """Tests must pass without a mutation: failed, skipped and missing tests are refused."""
    with pytest.raises(RuntimeError, match="do not pass without a mutation"):
        list(judge_all([replace(UPPER, tests=(test,))], tree, jobs=1))


@pytest.mark.parametrize(
    ("mutant", "problem"),
    [
        (UPPER, None),
        (replace(UPPER, tests=("test_limit.py",)), None),
        (replace(UPPER, tests=("test_limit.py::test_upper_end[10]",)), None),
        (replace(UPPER, old="<= 12"), "the old text occurs 0 times in limit.py"),
        (replace(UPPER, old="WAIT"), "the old text occurs 2 times in limit.py"),
        (replace(UPPER, new="<= 10"), "the new text is the old one"),
        (replace(UPPER, new="<= )"), "the new text does not parse: unmatched ')' (limit.py, line 10)"),
        (replace(UPPER, file="unlimited.py"), "No such file"),
        (replace(UPPER, tests=()), "tests, promises or breaks is empty"),
        (replace(UPPER, tests=("test_none.py",)), "test_none.py does not exist"),
        (replace(UPPER, tests=("test_limit.py::test_lower_end",)), "test_limit.py::test_lower_end does not exist"),
        (replace(UPPER, promises=(1, 99)), "there is no promise 99"),
    ],
)
def test_a_stale_table_is_reported(tree: Path, mutant: Mutant, problem: str | None) -> None:
    """Each mismatch between table and checkout is one line that names the mutant."""
    found = list(problems([mutant], tree, promises=[1]))
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert found[0].startswith("upper-end: ")
        assert problem in found[0]


def test_twins_and_gaps_are_reported(tree: Path) -> None:
    """Each mutant occurs once, and each promise has a mutant."""
    found = list(problems([UPPER, replace(UPPER, name="twin"), replace(LOWER, name="twin")], tree, promises=[1, 2]))
    assert found == ["twin: another mutant is the same", "twin: the name is taken", "no mutant guards promise 2"]


def test_the_table_fits_the_checkout() -> None:
    """Every mutant changes an existing line and names existing tests; each promise has a mutant."""
    mutants = read_table()
    assert list(problems(mutants, CHECKOUT)) == []
    assert len(mutants) >= 40
    assert {number for mutant in mutants for number in mutant.promises} == set(PROMISES)
