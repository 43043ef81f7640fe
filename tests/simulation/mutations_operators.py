"""Mutations of operator commands: see ``mutations``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.simulation.folding import is_operator
from tests.simulation.history import History
from tests.simulation.mutations_callbacks import append, bodies, first, replace

Entry = dict[str, Any]
Falsify = Callable[[History], None]


def has_operator_commands(history: History) -> bool:
    """Whether operators resolved a transaction, adjusted a balance and closed a review."""
    done = {body["type"] for _, body in bodies(history) if is_operator(body["metadata"].get("who"))}
    answers = {(entry["order"], entry["answer"]) for entry in history.of("ordered")}
    wanted = {("resolving", "accepted"), ("adjusting", "adjusted"), ("adjusting", "refused"), ("closing", "closed")}
    return "ReviewClosed" in done and "BalanceAdjusted" in done and wanted <= answers and bool(_resolutions(history))


def _resolutions(history: History) -> list[Entry]:
    """Resolutions that ended a transaction. What they did to authorizations is checked with these."""
    manual = {body["data"]["transaction_id"] for _, body in bodies(history) if body["data"].get("capture") == "manual"}
    whose = {each["who"] for each in history.of("ordered") if each["order"] == "resolving"}
    whose &= {each["who"] for each in history.of("ordered") if each["answer"] == "accepted"}
    orders = [each for each in history.entries if each["what"] == "resolving" and each["who"] in whose]
    return [order for order in orders if order["id"] not in manual]


def _order(history: History, what: str, answer: str) -> Entry:
    whose = {each["who"] for each in history.of("ordered") if each["order"] == what and each["answer"] == answer}
    order: Entry = first(each for each in history.entries if each["what"] == what and each["who"] in whose)
    return order


def _answer(history: History, what: str, answer: str) -> Entry:
    who = _order(history, what, answer)["who"]
    told: Entry = first(each for each in history.entries if each["what"] == "ordered" and each["who"] == who)
    return told


def _reviewed_another_version(history: History) -> None:
    _resolutions(history)[0]["version"] += 1


def _ordered_otherwise(history: History) -> None:
    order = _resolutions(history)[0]
    order["said"] = {"completed": "failed", "failed": "completed"}[order["said"]]


def _resolved_against_the_truth(history: History) -> None:
    order = _resolutions(history)[0]
    order["right"] = True
    if order["said"] == "completed":
        history.entries[:] = [each for each in history.entries if (each["what"], each.get("key")) != _effect_of(order)]
        return
    effect = dict(first(each for each in history.entries if each["what"] == "effect"))
    history.entries.append({**effect, "key": order["id"]})


def _effect_of(order: Entry) -> tuple[str, str]:
    return "effect", order["id"]


def _resolved_despite_a_refusal(history: History) -> None:
    who = _resolutions(history)[0]["who"]
    first(each for each in history.entries if each["what"] == "ordered" and each["who"] == who)["answer"] = "refused"


def _other_correction(history: History) -> None:
    _order(history, "adjusting", "adjusted")["amount"] += "0"


def _correction_lost(history: History) -> None:
    _answer(history, "adjusting", "refused")["answer"] = "adjusted"


def _corrected_despite_a_refusal(history: History) -> None:
    _answer(history, "adjusting", "adjusted")["answer"] = "not-stored"


def _correction(history: History) -> tuple[Entry, Entry]:
    found: tuple[Entry, Entry] = first(each for each in bodies(history) if each[1]["type"] == "BalanceAdjusted")
    return found


def _corrected_twice(history: History) -> None:
    append(history, _correction(history)[1])


def _corrected_below_zero(history: History) -> None:
    event, body = _correction(history)
    amount = "-9999999.00" if body["data"]["currency"] == "USD" else "-9999999"
    replace(event, {**body, "data": {**body["data"], "amount": amount}})


def _refused_a_correction_for_nothing(history: History) -> None:
    _order(history, "adjusting", "refused")["amount"] = "-0"


def _closed_without_a_command(history: History) -> None:
    _order(history, "closing", "closed")["who"] = "another"


def _answered_as_closed(history: History) -> None:
    _order(history, "closing", "closed")["id"] = "another"


OPERATORS: Final[list[tuple[Falsify, str]]] = [
    (_reviewed_another_version, "4: .* was resolved in version"),
    (_ordered_otherwise, "4: .* whose command was"),
    (_resolved_against_the_truth, "4: .* resolved it"),
    (_resolved_despite_a_refusal, "14: .* was answered refused, and resolved"),
    (_other_correction, "7: the adjustment .* and ordered as"),
    (_correction_lost, "7: the adjustment .* answered as made"),
    (_corrected_twice, "7: the adjustment .* was made twice"),
    (_corrected_below_zero, "7: the adjustment .* below zero"),
    (_refused_a_correction_for_nothing, "7: .* was refused although"),
    (_corrected_despite_a_refusal, "14: the adjustment .* and was made"),
    (_closed_without_a_command, "10: .* without a command"),
    (_answered_as_closed, "10: .* is closed, and it is open"),
]
"""Mutations of histories for which ``has_operator_commands`` holds."""
