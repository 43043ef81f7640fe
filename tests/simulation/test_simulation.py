"""A few hundred seeds of the whole system, and that a seed is all it takes to see the same again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
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
    calls: Counter[tuple[str, str]] = Counter()
    written: Counter[str] = Counter()
    for seed in range(1, 41):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for entry in simulate(seed, folder).entries:
            met.add(
                (entry["what"], entry.get("answer") or entry.get("result") or entry.get("state") or entry.get("mode"))
            )
            if entry["what"] == "call" and entry["verb"] == "submit":
                calls[entry["gateway"], entry["key"]] += 1
            if entry["what"] == "write":
                written.update(event[1] for part in entry["parts"] for event in part["events"])
    troubles: dict[str, list[str | None]] = {
        "answer": ["accepted", "refused", "none", "not-stored"],
        "ended": ["Approved", "Declined", "NotReceived", "NotSent", "unknown"],
        "breaker": ["open", "half_open", "closed"],
        "mode": ["open", "closed", "auto"],
        "discard": ["accepted", "refused"],
        "crash": [None],
        "stop": [None],
        "clock": [None],
    }
    assert {(what, how) for what, ways in troubles.items() for how in ways} <= met
    for gateway in ["gatewayA", "gatewayB"]:
        assert max(times for (name, _), times in calls.items() if name == gateway) > 1
    assert min(written[name] for name in ["DepositOutcomeUnknown", "WithdrawalCompleted", "WithdrawalFailed"]) > 0
    assert written["ReviewOpened"] > 0
