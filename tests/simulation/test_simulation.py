"""A few hundred seeds of the whole system, and that a seed is all it takes to see the same again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.checker import violations
from tests.simulation.world import simulate

SEEDS_EACH = 25


@pytest.mark.parametrize("first", range(1, 251, SEEDS_EACH))
def test_no_promise_is_broken_under_any_seed(first: int, tmp_path: Path) -> None:
    """Whatever fails, dies or crashes, and whenever: afterwards every promise holds, and everything has ended."""
    for seed in range(first, first + SEEDS_EACH):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = violations(simulate(seed, folder))
        assert not found, f"seed {seed} (replay: make simulate SEEDS=1 FIRST={seed}): {found}"


def test_the_same_seed_gives_the_same_history_byte_for_byte(tmp_path: Path) -> None:
    """Nothing outside the seed, not even Python's hash seed, decides what happens; another seed tells another story."""
    histories = []
    for number, (seed, hash_seed) in enumerate([(11, "1"), (11, "2"), (12, "1")]):
        file = tmp_path / f"{number}.jsonl"
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seeds", "1", "--first", str(seed), "--history", str(file)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            timeout=60,
        )
        histories.append(file.read_bytes())
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_faults_do_happen(tmp_path: Path) -> None:
    """A simulation in which nothing goes wrong proves nothing: over some seeds each kind of trouble is met."""
    met: set[tuple[str, str | None]] = set()
    calls: dict[str, int] = {}
    repeated = False
    for seed in range(1, 31):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for entry in simulate(seed, folder).entries:
            met.add((entry["what"], entry.get("answer")))
            if entry["what"] == "call":
                calls[entry["key"]] = calls.get(entry["key"], 0) + 1
                repeated = repeated or calls[entry["key"]] > 1
    assert {
        ("crash", None),
        ("clock", None),
        ("answer", "accepted"),
        ("answer", "none"),
        ("answer", "not-stored"),
    } <= met
    assert repeated
