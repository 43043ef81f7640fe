"""Judges a history by the promises of the service. It reads the history only, and shares no rule with the code.

The numbers are those of the promises in docs/architecture.md.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from tests.simulation.history import History

STEPS: Final = {
    ("pending", "OutcomeUnknown"): "unknown",
    ("pending", "Processed"): "processed",
    ("pending", "Failed"): "failed",
    ("unknown", "Processed"): "processed",
    ("unknown", "Failed"): "failed",
    ("processed", "Completed"): "completed",
    ("processed", "Failed"): "failed",
}
DECIMALS: Final = {"USD": 2, "JPY": 0}


@dataclass
class _Seen:
    """What the events say of one transaction."""

    status: str
    customer: str
    amount: str
    currency: str
    received: int = 1
    terminals: int = 0


@dataclass
class _Fold:
    """The events of the last dump, folded by the checker's own hand."""

    transactions: dict[str, _Seen] = field(default_factory=dict)
    balances: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    reviews: int = 0


def violations(history: History) -> list[str]:
    """Every broken promise, as a sentence that begins with the promise's number."""
    fold = _Fold()
    found = [*_streams(history, fold)]
    found += _answers(history, fold)
    found += _effects(history, fold)
    found += _at_rest(history, fold)
    return found


def _streams(history: History, fold: _Fold) -> Iterator[str]:
    """Promises 5, 6 and 7, over every dump of every stream."""
    earlier: dict[str, list[str]] = {}
    for dump in history.of("dump"):
        stream = "/".join(dump["stream"])
        before = bytes(32)
        for number, event in enumerate(dump["events"], start=1):
            body = event["body"].encode()
            before = sha256(before + body).digest()
            if event["version"] != number or json.loads(body)["version"] != number:
                yield f"5: {stream} holds version {event['version']} where {number} belongs"
            if before.hex() != event["hash"]:
                yield f"5: {stream} version {number}: the hash does not chain"
        hashes = [event["hash"] for event in dump["events"]]
        if hashes[: len(earlier.get(stream, []))] != earlier.get(stream, []):
            yield f"5: an earlier dump of {stream} is no prefix of a later one"
        earlier[stream] = hashes
        if dump["when"] == "rest":
            for event in dump["events"]:
                yield from _apply(json.loads(event["body"]), fold)


def _apply(event: Mapping[str, Any], fold: _Fold) -> Iterator[str]:
    data, customer = event["data"], event["stream_id"]
    if event["type"].startswith("Review"):
        fold.reviews += 1
        return
    key, what = data["transaction_id"], event["type"].removeprefix("Deposit")
    seen = fold.transactions.get(key)
    if what == "Received":
        if seen is not None:
            seen.received += 1
            yield f"1: {key} was received {seen.received} times"
            return
        fold.transactions[key] = _Seen("pending", customer, data["amount"], data["currency"])
        return
    if seen is None:
        yield f"6: {event['type']} of {key}, which was never received"
        return
    to = STEPS.get((seen.status, what))
    if to is None:
        yield f"6: {key} went from {seen.status} by {what}"
        return
    seen.status = to
    if to in {"completed", "failed"}:
        seen.terminals += 1
        if seen.terminals > 1:
            yield f"6: {key} ended twice"
    if to == "completed":
        fold.balances[customer, seen.currency] += _minor(seen.amount, seen.currency)


def _minor(amount: str, currency: str) -> int:
    return int(Decimal(amount).scaleb(DECIMALS[currency]))


def _answers(history: History, fold: _Fold) -> Iterator[str]:
    """Promises 1 and 14: what clients were told against what is on record."""
    answers = {entry["id"]: entry for entry in history.of("answer")}
    sent = {entry["id"]: entry for entry in history.of("sent")}
    for key, request in sent.items():
        answer = answers.get(key)
        recorded = fold.transactions.get(key)
        if answer is None:
            yield f"1: {key} got no answer although its process lived"
        elif answer["answer"] == "accepted" and recorded is None:
            yield f"1: {key} was accepted and is not on record"
        elif answer["answer"] == "accepted" and answer["status"] != "pending":
            yield f"1: {key} was accepted as {answer['status']}"
        elif answer["answer"] in {"not-stored", "refused"} and recorded is not None:
            yield f"14: {key} was answered {answer['answer']} and is on record"
        if recorded is not None and (recorded.amount, recorded.currency, recorded.customer) != (
            request["amount"],
            request["currency"],
            request["customer"],
        ):
            yield f"1: {key} is on record with other contents than were sent"
    for key in fold.transactions.keys() - sent.keys():
        yield f"1: {key} is on record and was never sent"


def _effects(history: History, fold: _Fold) -> Iterator[str]:
    """Promises 3 and 4: the provider's ledger against the record."""
    effects = history.of("effect")
    for key, times in Counter(effect["key"] for effect in effects).items():
        if times > 1:
            yield f"3: {key} had {times} effects"
    by_key = {effect["key"]: effect for effect in effects}
    for key, effect in by_key.items():
        recorded = fold.transactions.get(key)
        if recorded is None:
            yield f"3: an effect of {key}, which is not on record"
        elif (recorded.amount, recorded.currency) != (effect["amount"], effect["currency"]):
            yield f"3: the effect of {key} is of another amount"
    for key, seen in fold.transactions.items():
        if seen.status == "completed" and key not in by_key:
            yield f"4: {key} is completed without an effect"
        if seen.status == "failed" and key in by_key:
            yield f"4: {key} is failed and has an effect"


def _at_rest(history: History, fold: _Fold) -> Iterator[str]:
    """Promise 10, and that the read tables are the fold of the events (7)."""
    for key, seen in fold.transactions.items():
        if seen.status not in {"completed", "failed"}:
            yield f"10: {key} is still {seen.status} long after the last fault"
    rows: dict[str, str] = {}
    balances: dict[tuple[str, str], int] = {}
    for table in history.of("tables"):
        rows |= table["transactions"]
        for currency, (available, reserved) in table["balances"].items():
            balances[table["stream"][1], currency] = available
            if available < 0 or reserved != 0:
                yield f"7: {table['stream']} has {available} available and {reserved} reserved {currency} at rest"
        for key in table["unfinished"]:
            yield f"10: {key} is at rest and has work left"
    yield from _tables(fold, rows, balances)
    for rest in history.of("rest"):
        if rest["outstanding"]:
            yield "1: requests were left without an answer"
    if fold.reviews:
        yield f"10: {fold.reviews} reviews although the provider never contradicted itself"


def _tables(fold: _Fold, rows: Mapping[str, str], balances: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Promise 7: the read tables are the fold of the events."""
    if rows != {key: seen.status for key, seen in fold.transactions.items()}:
        yield "7: the transactions' read rows are not the fold of the events"
    if {key: value for key, value in balances.items() if value} != {k: v for k, v in fold.balances.items() if v}:
        yield "7: the balances are not the fold of the events"
