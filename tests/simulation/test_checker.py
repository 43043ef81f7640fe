"""The checker finds what it is there to find: each way to falsify a good history is seen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulation.checker import violations
from tests.simulation.history import History
from tests.simulation.world import simulate


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A history with accepted, completed and failed deposits."""
    history = simulate(3, tmp_path_factory.mktemp("good"))
    assert violations(history) == []
    return history


def _last_dump(history: History) -> dict[str, Any]:
    return next(entry for entry in reversed(history.entries) if entry["what"] == "dump" and len(entry["events"]) > 3)


def _drop_first(history: History, what: str) -> None:
    history.entries.remove(next(entry for entry in history.entries if entry["what"] == what))


def _double_effect(history: History) -> None:
    history.entries.append(dict(history.of("effect")[0]))


def _lost(history: History) -> None:
    accepted = next(entry for entry in history.of("answer") if entry["answer"] == "accepted")["id"]
    for entry in history.entries:
        if entry["what"] == "dump":
            entry["events"] = [event for event in entry["events"] if accepted not in event["body"]]


def _cut_tail(history: History) -> None:
    dump = _last_dump(history)
    history.entries.append({**dump, "when": "restart", "events": dump["events"][:-1]})


def _changed_body(history: History) -> None:
    event = _last_dump(history)["events"][1]
    event["body"] = event["body"].replace('"main"', '"mean"')


def _not_stored(history: History) -> None:
    entry = next(entry for entry in history.entries if entry.get("answer") == "accepted")
    entry["answer"] = "not-stored"


def _row(history: History) -> None:
    table = next(entry for entry in history.entries if entry["what"] == "tables")
    table["transactions"][next(iter(table["transactions"]))] = "pending"


def _balance(history: History) -> None:
    table = next(entry for entry in history.entries if entry["what"] == "tables" and entry["balances"])
    table["balances"][next(iter(table["balances"]))][0] += 1


def _unfinished(history: History) -> None:
    table = next(entry for entry in history.entries if entry["what"] == "tables")
    table["unfinished"].append(next(iter(table["transactions"])))


def _replace_type(history: History, old: str, new: str) -> None:
    for entry in history.entries:
        for event in entry.get("events", ()):
            event["body"] = event["body"].replace(f'"type":"{old}"', f'"type":"{new}"')


@pytest.mark.parametrize(
    ("falsify", "promise"),
    [
        (_lost, "1:"),
        (lambda history: _drop_first(history, "answer"), "1:"),
        (_double_effect, "3:"),
        (lambda history: _drop_first(history, "effect"), "4:"),
        (lambda history: _replace_type(history, "DepositCompleted", "DepositFailed"), "4:"),
        (_cut_tail, "5:"),
        (_changed_body, "5:"),
        (lambda history: _replace_type(history, "DepositProcessed", "DepositOutcomeUnknown"), "6:"),
        (_row, "7:"),
        (_balance, "7:"),
        (_unfinished, "10:"),
        (_not_stored, "14:"),
    ],
)
def test_a_falsified_history_is_found_out(good: History, falsify: Callable[[History], None], promise: str) -> None:
    """Each promise has at least one way to be broken that the checker reports under that promise's number."""
    history = History(copy.deepcopy(good.entries))
    falsify(history)
    assert any(found.startswith(promise) for found in violations(history)), violations(history)
