"""Promises about work: no transaction is forgotten (10), and no outcome is recorded under a stale token (12)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from tests.simulation.folding import TERMINAL, Fold, Seen, is_callback, is_operator
from tests.simulation.history import History

UNFENCED: Final = ("Received", "ReviewOpened", "ReviewClosed", "BalanceAdjusted")
"""Ends of the types of events that may be appended without a lease on the work."""
CALLBACK: Final = "callback:"
"""The prefix of the ids of work for callbacks without a transaction."""
DAY_S: Final = 86_400.0
CLOCK_OFF_S: Final = 9_000.0
"""Maximum jump of the wall clock, which determines when work is due."""


def token_violations(history: History) -> Iterator[str]:
    """Promise 12: an event that advances a transaction carries the newest token; each claim of work has a new token."""
    rows: dict[str, list[Any]] = {}
    seen: set[str] = set()
    parents = {
        data["transaction_id"]: data["parent_id"]
        for entry in history.of("write")
        for part in entry["parts"]
        for _, _, data in part["events"]
        if "parent_id" in data
    }
    for entry in history.entries:
        if entry["what"] == "work":
            yield from _changed(entry["rows"], rows)
        elif entry["what"] == "write":
            ids = {event[0] for part in entry["parts"] for event in part["events"]}
            if not ids or not ids <= seen:  # else it repeats an earlier write, which was checked
                seen |= ids
                before = {key: row[0] for key, row in rows.items()}  # the store compares all fences of a write first
                for part in entry["parts"]:
                    yield from _fenced(part, rows, parents, before)


def _changed(changes: Mapping[str, list[Any] | None], rows: dict[str, list[Any]]) -> Iterator[str]:
    for key, row in changes.items():
        before = rows.get(key)
        if row is None:
            rows.pop(key, None)
            continue
        rows[key] = row
        if before is None:
            continue
        (token, _, owner), (token_before, _, owner_before) = row, before
        if token < token_before or (token == token_before and owner_before not in {owner, "moved"}):
            yield f"12: the work of {key} went from {before} to {row} without a new token"


def _fenced(
    part: Mapping[str, Any], rows: dict[str, list[Any]], parents: Mapping[str, str], before: Mapping[str, int]
) -> Iterator[str]:
    """An end of a parent follows from its child's: the child's token fences it, and the parent's work is closed."""
    types = [event[1] for event in part["events"]]
    fence = part["fence"]
    outside = any(is_callback(cause) or is_operator(who) for cause, who in part["causes"])
    fenced = set() if fence is None else {fence[0], parents.get(fence[0])}
    about = {data["transaction_id"] for _, name, data in part["events"] if not name.endswith(UNFENCED)}
    for (_, name, data), (cause, who) in zip(part["events"], part["causes"], strict=True):
        if name.endswith(UNFENCED) or (fence is not None and fence[0] == data["transaction_id"]):
            continue
        key = data["transaction_id"]
        changed = ["close", key] in part["work"] or ["move", key] in part["work"]
        if not changed or not (is_callback(cause) or is_operator(who) or key in fenced):
            yield f"12: {types} were appended without a token"
    if fence is not None and fence[1] not in {before.get(fence[0]), rows.get(fence[0], [None])[0]}:
        yield f"12: {types} of {fence[0]} were appended under {fence[1]}; its work was at {rows.get(fence[0])}"
    for change, key in part["work"]:
        if change == "move":
            mine = key in fenced or (outside and (key in about or key in {parents.get(each) for each in about}))
            if not mine:
                yield f"12: the work of {key} was moved without its token"
            elif key in rows:  # moved under the next token; the next entry names its owner
                rows[key] = [rows[key][0] + 1, "moved", "moved"]


def waiting_violations(history: History, fold: Fold) -> Iterator[str]:
    """Promise 10: every open transaction has work or a review at any time, and a review at rest."""
    gateways = {entry["name"]: entry for entry in history.of("gateway")}
    reviewed = {asked.transaction for asked in fold.reviews.values()}
    unfinished: set[str] = set()
    for table in history.of("tables"):
        under_review = {transaction_id for transaction_id, state in table["reviews"] if state == "open"}
        for key, (status, _) in table["transactions"].items():
            if status not in TERMINAL and key not in table["unfinished"] and key not in under_review:
                yield f"10: {key} is {status} at {table['at']}, without work and without a review"
        if table["when"] == "rest":
            unfinished |= set(table["unfinished"])
    waiting = set()
    for key, seen in fold.transactions.items():
        if seen.status not in TERMINAL:
            gateway = gateways[seen.gateway]
            needs_nobody = gateway["keys"] or gateway["looks_up"] or not seen.submissions or key not in reviewed
            if needs_nobody and not _may_stay(key, seen, fold, history, reviewed):
                yield f"10: {key} is still {seen.status} at {seen.gateway} long after the last fault"
            waiting.add(key)
    for key in sorted(unfinished - waiting):
        yield f"10: {key} is at rest and has work left"
    yield from _callbacks_left(history)
    yield from _reviews(history, fold)


def _may_stay(key: str, seen: Seen, fold: Fold, history: History, reviewed: Collection[str | None]) -> bool:
    """Whether an authorization may stay: it is held, or its capture or void is judged itself.

    One that an operator confirmed, and that its provider never held, is under review. So is a capture or void whose
    provider carried it out after a callback had reported its failure.
    """
    if seen.status != "authorized":
        return False
    ending = None if seen.ending is None else fold.transactions[seen.ending]
    if key in held_at_rest(history) or (ending is not None and ending.status not in TERMINAL):
        return True
    if any(one.parent == key and child in reviewed for child, one in fold.transactions.items()):
        return True
    return key in reviewed and key not in {entry["key"] for entry in history.of("hold")}


def held_at_rest(history: History) -> set[str]:
    """The orders whose money a provider still holds."""
    ended = {effect["parent"] for effect in history.of("effect") if effect["kind"] in {"capture", "void"}}
    released = {entry["key"] for entry in history.of("release")}
    return {entry["key"] for entry in history.of("hold")} - ended - released


def _callbacks_left(history: History) -> Iterator[str]:
    """Callbacks that waited for their transaction are applied or reviewed at rest."""
    left: set[str] = set()
    for entry in history.of("work"):
        for key, row in entry["rows"].items():
            if key.startswith(CALLBACK):
                (left.discard if row is None else left.add)(key)
    for key in sorted(left):
        yield f"10: {key} is at rest and was neither applied nor reviewed"


def _reviews(history: History, fold: Fold) -> Iterator[str]:
    """A call opens a review only against a callback's or operator's outcome, or after a day without an outcome."""
    sent_at = {entry["id"]: entry["at"] for entry in history.of("sent")}
    for entry in history.of("write"):
        for part in entry["parts"]:
            for (_, kind_of_event, data), (cause, _) in zip(part["events"], part["causes"], strict=True):
                if kind_of_event != "ReviewOpened" or is_callback(cause):
                    continue
                key = data["transaction_id"]
                seen = fold.transactions.get(key)
                elsewhere = seen is not None and (is_callback(seen.cause) or is_operator(seen.who))
                if entry["at"] - sent_at.get(key, 0.0) < DAY_S - CLOCK_OFF_S and not elsewhere:
                    yield f"10: a review of {key}: {data['reason']}"
