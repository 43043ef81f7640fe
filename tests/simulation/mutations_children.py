"""Mutations of refunds, captures, voids and authorizations: see ``mutations``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from tests.simulation.checker_work import held_at_rest
from tests.simulation.folding import Fold, fold_streams, is_callback, is_operator
from tests.simulation.history import History
from tests.simulation.mutations_callbacks import bodies, replace

Entry = dict[str, Any]
Falsify = Callable[[History], None]
NEEDED: Final = {("refund", "completed"), ("capture", "completed"), ("void", "completed")}


def has_children(history: History) -> bool:
    """Whether refunds, captures and voids were completed by calls alone, and a hold is left at rest."""
    fold = Fold()
    assert [*fold_streams(history, fold)] == []
    misled = {key for seen in fold.transactions.values() if _is_led(seen) for key in (seen.parent,)}
    misled |= {key for key, seen in fold.transactions.items() if _is_led(seen)}
    by_calls = {
        (seen.kind, seen.status)
        for key, seen in fold.transactions.items()
        if seen.parent is not None and key not in misled and seen.parent not in misled
    }
    held = {key for key in held_at_rest(history) if key not in misled and fold.transactions[key].status == "authorized"}
    return (
        by_calls >= NEEDED
        and bool(held)
        and _ended_in_one_part(history, "CaptureCompleted") is not None
        and _ended_in_one_part(history, "VoidCompleted") is not None
    )


def _is_led(seen: Any) -> bool:
    return is_callback(seen.cause) or is_operator(seen.who)


def _child(history: History, kind: str) -> tuple[str, str]:
    """A child of this kind that a call completed, and its parent, about which nothing else was reported."""
    fold = Fold()
    assert [*fold_streams(history, fold)] == []
    misled = {seen.parent for seen in fold.transactions.values() if _is_led(seen)}
    misled |= {key for key, seen in fold.transactions.items() if _is_led(seen)}
    return next(
        (key, seen.parent)
        for key, seen in fold.transactions.items()
        if (seen.kind, seen.status) == (kind, "completed")
        and seen.parent is not None
        and key not in misled
        and seen.parent not in misled
    )


def _ended_in_one_part(history: History, name: str) -> Entry | None:
    for write in history.of("write"):
        for part in write["parts"]:
            if any(event[1] == name for event in part["events"]):
                found: Entry = part
                return found
    return None


def _effect(history: History, key: str) -> Entry:
    return next(entry for entry in history.entries if entry["what"] == "effect" and entry["key"] == key)


def _held(history: History) -> Entry:
    fold = Fold()
    assert [*fold_streams(history, fold)] == []
    held = held_at_rest(history)
    return next(
        entry
        for entry in history.entries
        if entry["what"] == "hold"
        and entry["key"] in held
        and fold.transactions[entry["key"]].status == "authorized"
        and not _is_led(fold.transactions[entry["key"]])
    )


def _bigger(kind_of_event: str) -> Falsify:
    """Give more money to every event of this type."""

    def mutate(history: History) -> None:
        for event, body in [*bodies(history)]:
            if body["type"] == kind_of_event:
                data = {**body["data"], "amount": "99999999.00" if body["data"]["currency"] == "USD" else "99999999"}
                replace(event, {**body, "data": data})

    return mutate


def _captured_otherwise(history: History) -> None:
    for event, body in [*bodies(history)]:
        if "captured_amount" in body["data"]:
            replace(event, {**body, "data": {**body["data"], "captured_amount": "1"}})


def _of_another_parent(history: History) -> None:
    for event, body in [*bodies(history)]:
        if body["type"] == "RefundReceived":
            replace(event, {**body, "data": {**body["data"], "parent_id": "another"}})


def _second_capture(history: History) -> None:
    """The failure of captures is dropped, so that the next ones are second ones."""
    for event, body in [*bodies(history)]:
        if body["type"] == "VoidReceived":
            data = {**body["data"], "transaction_id": "another"}
            for dump in history.entries:
                if dump["what"] == "dump" and dump["when"] == "rest" and dump["stream"][1] == body["stream_id"]:
                    dump["events"].append({**event, "body": json.dumps({**body, "data": data})})
                    return


def _amounts(history: History) -> None:
    for table in history.entries:
        if table["what"] == "tables" and table["when"] == "rest":
            for amounts in table["amounts"].values():
                amounts[1] += 1


def _apart(name: str) -> Falsify:
    """Put the end of a parent into a part of its own."""

    def mutate(history: History) -> None:
        part = _ended_in_one_part(history, name)
        assert part is not None
        write = next(each for each in history.of("write") if part in each["parts"])
        [last, cause] = part["events"].pop(), part["causes"].pop()
        write["parts"].append({**part, "events": [last], "causes": [cause]})

    return mutate


def _second_at_the_provider(history: History) -> None:
    key, _ = _child(history, "capture")
    history.entries.append({**_effect(history, key), "key": "another", "kind": "void"})


def _refunded_at_the_provider_alone(history: History) -> None:
    key, _ = _child(history, "refund")
    history.entries.append(dict(_effect(history, key)))


def _without_hold(history: History) -> None:
    history.entries.remove(_held(history))


def _without_capture(history: History) -> None:
    key, _ = _child(history, "capture")
    history.entries.remove(_effect(history, key))


def _without_release(history: History) -> None:
    key, _ = _child(history, "void")
    history.entries.remove(_effect(history, key))


def _released(history: History) -> None:
    hold = _held(history)
    history.entries.append({**hold, "what": "release", "by": "gateway"})


def _hold_of_other_money(history: History) -> None:
    _held(history)["amount"] += "1"


def _void_instead_of_capture(history: History) -> None:
    key, _ = _child(history, "capture")
    _effect(history, key)["kind"] = "void"


CHILDREN: Final[list[tuple[Falsify, str]]] = [
    (_hold_of_other_money, "3: the hold of"),
    (_without_hold, "4: .* is authorized"),
    (_released, "4: .* is authorized"),
    (_without_capture, "4: .* is completed, and at its provider"),
    (_void_instead_of_capture, "4: .* is completed, and at its provider"),
    (_without_release, "4: .* is voided"),
    (_bigger("RefundReceived"), "18: the refund"),
    (_bigger("CaptureReceived"), "18: the capture"),
    (_captured_otherwise, "18: .* captured"),
    (_of_another_parent, "18: .* has the parent"),
    (_second_capture, "18: the void"),
    (_amounts, "18: .* has the amounts"),
    (_apart("CaptureCompleted"), "18: .* without its capture or void"),
    (_apart("CaptureCompleted"), "18: .* ended without DepositCompleted"),
    (_apart("VoidCompleted"), "18: .* ended without DepositVoided"),
    (_second_at_the_provider, "18: .* captures and voids at its provider"),
    (_refunded_at_the_provider_alone, "18: the provider gave back"),
]
"""Mutations with the beginning of the checker's sentence about each."""
