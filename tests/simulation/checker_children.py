"""Refunds, captures and voids (promise 18), and authorizations against the providers' ledgers (promise 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.checker_work import held_at_rest
from tests.simulation.folding import GONE, TERMINAL, Fold, Seen, is_callback, is_operator, minor
from tests.simulation.history import History

Entry = Mapping[str, Any]
ENDING: Final = ("capture", "void")


def children_violations(history: History, fold: Fold) -> Iterator[str]:
    """The amounts of parents are the sums of their children, in the record, its tables and the ledgers."""
    yield from _amounts(history, fold)
    yield from _together(history)
    yield from _ledgers(history, fold)
    yield from _authorizations(history, fold)


def _amounts(history: History, fold: Fold) -> Iterator[str]:
    """The rows of the deposits have the amounts of their children's events."""
    rows: dict[str, list[int | None]] = {}
    for table in (entry for entry in history.of("tables") if entry["when"] == "rest"):
        rows |= table["amounts"]
    deposits = {key: seen for key, seen in fold.transactions.items() if seen.kind == "deposit"}
    for key, seen in deposits.items():
        if rows.get(key) != [seen.captured, seen.refunded, seen.refunding]:
            yield f"18: {key} has the amounts {rows.get(key)}, and its children have {seen}"
        captured = [
            each.minor
            for each in fold.transactions.values()
            if each.parent == key and each.kind == "capture" and each.status == "completed"
        ]
        if sum(captured) != (seen.captured or 0) or len(captured) > 1:
            yield f"18: {key} has {seen.captured} captured, and its captures are {captured}"


def _together(history: History) -> Iterator[str]:
    """A capture or void and its parent end in one part of one write, and the parent never without it."""
    parents: dict[str, str] = {}
    for write in history.of("write"):
        for part in write["parts"]:
            parents |= {
                data["transaction_id"]: data["parent_id"] for _, _, data in part["events"] if "parent_id" in data
            }
            names = {(name, data["transaction_id"]) for _, name, data in part["events"] if "transaction_id" in data}
            wanted = set()
            for _, name, data in part["events"]:
                if name in {"CaptureCompleted", "VoidCompleted"}:
                    end = "DepositCompleted" if name == "CaptureCompleted" else "DepositVoided"
                    wanted.add((end, parents[data["transaction_id"]]))
                elif name in {"CaptureFailed", "VoidFailed"} and data["code"] in GONE:
                    wanted.add(("DepositFailed", parents[data["transaction_id"]]))
                if "captured_amount" in data or name == "DepositVoided":
                    ended = {parents.get(key) for other, key in names if other in {"CaptureCompleted", "VoidCompleted"}}
                    if data["transaction_id"] not in ended:
                        yield f"18: {data['transaction_id']} ended as {name} without its capture or void"
            for end, key in sorted(wanted - names):
                yield f"18: a capture or void of {key} ended without {end} in the same part"


def _ledgers(history: History, fold: Fold) -> Iterator[str]:
    """What providers gave back is not above what they took, and they have one capture or void of a deposit.

    False callbacks and operators' mistakes are left out: after these the record is another one than the ledger. So are
    refunds whose outcome only an operator can find out.
    """
    effects: dict[str, list[Entry]] = defaultdict(list)
    misled = {seen.parent for seen in fold.transactions.values() if _told_otherwise(seen)}
    unknown = {key for key, seen in fold.transactions.items() if seen.kind == "refund" and seen.status not in TERMINAL}
    for effect in history.of("effect"):
        if effect["parent"] is not None:
            effects[effect["parent"]].append(effect)
    for key, of_key in effects.items():
        parent = fold.transactions.get(key)
        if parent is None or key in misled:
            continue
        ending = [effect for effect in of_key if effect["kind"] in ENDING]
        if len(ending) > 1:
            yield f"18: {key} has {len(ending)} captures and voids at its provider"
        refunded = sum(minor(effect["amount"], effect["currency"]) for effect in of_key if effect["kind"] == "refund")
        taken = parent.minor if parent.captured is None else parent.captured
        if refunded > taken:
            yield f"18: the provider gave back {refunded} of {key}, which took {taken}"
        known = refunded - sum(minor(each["amount"], each["currency"]) for each in of_key if each["key"] in unknown)
        if known != parent.refunded:
            yield f"18: the provider gave back {known} of {key}, and {parent.refunded} is on record"


def _told_otherwise(seen: Seen) -> bool:
    return is_callback(seen.cause) or is_operator(seen.who)


def _authorizations(history: History, fold: Fold) -> Iterator[str]:
    """Promise 4: authorized, voided, completed and failed agree with hold, release, capture and neither."""
    held = held_at_rest(history)
    holds = {entry["key"]: entry for entry in history.of("hold")}
    ended = {effect["parent"]: effect for effect in history.of("effect") if effect["kind"] in ENDING}
    for key, hold in holds.items():
        seen = fold.transactions.get(key)
        if seen is None or not seen.manual:
            yield f"3: a hold of {key}, which is on record as {seen}"
        elif any(hold[name] != getattr(seen, name) for name in ("gateway", "kind", "amount", "currency", "customer")):
            yield f"3: the hold of {key} is of other contents than the record"
    in_the_dark = {entry["name"] for entry in history.of("gateway") if not entry["looks_up"]}
    children = defaultdict(list)
    for seen in fold.transactions.values():
        children[seen.parent].append(seen)
    for key, seen in fold.transactions.items():
        if not seen.manual or _told_otherwise(seen) or any(map(_told_otherwise, children[key])):
            continue
        if seen.status == "authorized" and seen.gateway in in_the_dark:
            continue  # without lookups its end, and that of its capture or void, stays unknown
        yield from _is_true(key, seen, key in held, holds.get(key), ended.get(key))


def _is_true(key: str, seen: Seen, held: bool, hold: Entry | None, ended: Entry | None) -> Iterator[str]:  # noqa: FBT001
    kind = None if ended is None else ended["kind"]
    state = f"held: {held}, ended by: {kind}, on hold: {hold is not None}"
    if seen.status in {"authorized", "completed", "voided"} and (hold is None or seen.reference != hold["id"]):
        yield f"4: {key} is {seen.status} under {seen.reference}, and its hold is {hold}"
    wrong = {
        "authorized": not held,
        "completed": kind != "capture"
        or (ended is not None and minor(ended["amount"], seen.currency) != seen.captured),
        "voided": kind != "void",
        "failed": held or kind is not None,
    }.get(seen.status, False)
    if wrong:
        yield f"4: {key} is {seen.status}, and at its provider {state}"
