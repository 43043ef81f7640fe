"""A few hundred seeds of the whole system, and that a seed is all it takes to see the same again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.simulation.checker import violations
from tests.simulation.history import History
from tests.simulation.process import LEASES_S
from tests.simulation.world import simulate

SEEDS_EACH = 25
LEASE_S = max(LEASES_S)


@pytest.mark.parametrize("first", range(1, 251, SEEDS_EACH))
def test_no_promise_is_broken_under_any_seed(first: int, tmp_path: Path) -> None:
    """Whatever fails, dies or crashes, and whenever: afterwards every promise holds, and everything has ended.

    The seed also says whether one process has the store to itself, or two or three share it.
    """
    for seed in range(first, first + SEEDS_EACH):
        folder = tmp_path / str(seed)
        folder.mkdir()
        history = simulate(seed, folder)
        found = violations(history)
        # Nothing is lost there but what never was: no process may hold the store for one that was put back.
        found += [f"a process began a generation: {entry}" for entry in history.of("generation")]
        assert not found, f"seed {seed} (replay: make simulate SEEDS=1 FIRST={seed}): {found}"


@pytest.mark.parametrize("processes", [1, 3])
def test_the_same_seed_gives_the_same_history_byte_for_byte(processes: int, tmp_path: Path) -> None:
    """Nothing outside the seed, not even Python's hash seed, decides what happens; another seed tells another story."""
    histories = []
    for number, (seed, hash_seed) in enumerate([(11, "1"), (11, "2"), (12, "1")]):
        file = tmp_path / f"{number}.jsonl"
        arguments = ["--seeds", "1", "--first", str(seed), "--processes", str(processes), "--history", str(file)]
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", *arguments],
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
    for history in _some(range(1, 41), tmp_path):
        for entry in history.entries:
            met.add(
                (entry["what"], entry.get("answer") or entry.get("result") or entry.get("state") or entry.get("mode"))
            )
            if entry["what"] == "call" and entry["verb"] == "submit":
                calls[entry["gateway"], entry["key"]] += 1
            if entry["what"] == "write":
                written.update(event[1] for part in entry["parts"] for event in part["events"])
            if entry["what"] == "callback":
                met.add(("forged" if entry["forged"] else "callback", None))
    troubles: dict[str, list[str | None]] = {
        "answer": ["accepted", "refused", "none", "not-stored"],
        "ended": ["Approved", "Declined", "NotReceived", "NotSent", "unknown"],
        "breaker": ["open", "half_open", "closed"],
        "mode": ["open", "closed", "auto"],
        "discard": ["accepted", "refused"],
        "told": ["taken", "unverified", "not-stored"],
        "callback": [None],
        "forged": [None],
        "ordered": ["accepted", "adjusted", "closed", "refused", "replayed"],
        "crash": [None],
        "stop": [None],
        "clock": [None],
    }
    assert {(what, how) for what, ways in troubles.items() for how in ways} <= met
    for gateway in ["gatewayA", "gatewayB"]:
        assert max(times for (name, _), times in calls.items() if name == gateway) > 1
    assert min(written[name] for name in ["DepositOutcomeUnknown", "WithdrawalCompleted", "WithdrawalFailed"]) > 0
    assert min(written[name] for name in ["ReviewOpened", "ReviewClosed", "BalanceAdjusted"]) > 0


def test_processes_do_get_in_each_others_way(tmp_path: Path) -> None:
    """Several on one store: they conflict, lose their leases and go on, are frozen and cut off, and die for good."""
    happened: Counter[str] = Counter()
    taken_over = late = gone = 0
    for history in _some(range(1, 21), tmp_path, processes=3):
        happened.update(entry["what"] for entry in history.entries)
        happened.update(entry["how"] for entry in history.of("lost"))
        called: dict[str, set[int]] = defaultdict(set)
        for entry in history.of("call"):
            called[entry["key"]].add(entry["process"])
        taken_over += sum(len(processes) > 1 for processes in called.values())
        late += sum(entry["until"] - entry["at"] > LEASE_S for entry in history.of("freeze"))
        calm_at = history.of("calm")[0]["at"]
        gone += len({0, 1, 2} - {entry.get("process") for entry in history.entries if entry["at"] > calm_at})
    assert min(happened[what] for what in ["Conflict", "Fenced", "freeze", "thaw", "cut", "healed", "late", "read"]) > 0
    assert taken_over > 0
    assert late > 0
    assert gone > 0


def _some(seeds: Iterable[int], folder: Path, processes: int | None = None) -> Iterator[History]:
    for seed in seeds:
        (folder / str(seed)).mkdir()
        yield simulate(seed, folder / str(seed), processes=processes)
