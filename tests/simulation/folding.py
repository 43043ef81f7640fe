"""The events of a history, folded independently of the code: the state of each transaction and balance."""

from __future__ import annotations

import json
from collections import defaultdict
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
    ("pending", "Authorized"): "authorized",
    ("unknown", "Authorized"): "authorized",
    ("processed", "Authorized"): "authorized",
    ("processed", "Completed"): "completed",
    ("processed", "Failed"): "failed",
    ("authorized", "Completed"): "completed",
    ("authorized", "Voided"): "voided",
    ("authorized", "Failed"): "failed",
}
TERMINAL: Final = frozenset({"completed", "voided", "failed"})
KINDS: Final = ("deposit", "withdrawal", "refund", "capture", "void")
GONE: Final = frozenset({"authorization_cancelled", "authorization_expired"})
"""Codes of failures: the provider holds the money no longer."""
MOVES_PARENT: Final = frozenset(
    {
        *(("refund", what) for what in ("Received", "Completed", "Failed")),
        *((kind, what) for kind in ("capture", "void") for what in ("Received", "Failed")),
    }
)
"""The events of children that also change their parents, which get their versions."""
DECIMALS: Final = {"USD": 2, "JPY": 0}


@dataclass
class Seen:
    """The state of one transaction according to its events."""

    kind: str
    customer: str
    gateway: str
    amount: str
    currency: str
    reserved: bool
    status: str = "pending"
    received: int = 1
    submissions: int = 0
    reference: str | None = None
    code: str | None = None
    version: int = 0
    cause: str | None = None
    """The cause of the newest change of status."""
    who: str | None = None
    """The operator of that change, if any."""
    settled_at: int = 0
    """The version at which an operator resolved it."""
    manual: bool = False
    """Its money is held only, until it is captured."""
    parent: str | None = None
    captured: int | None = None
    refunded: int = 0
    refunding: int = 0
    authorized: bool = False
    """It was authorized at some time."""
    ending: str | None = None
    """The capture or void that is under way or done."""

    @property
    def minor(self) -> int:
        """The amount in minor units."""
        return minor(self.amount, self.currency)


@dataclass(frozen=True)
class Adjusted:
    """A correction of a balance."""

    customer: str
    amount: str
    currency: str
    who: str | None


@dataclass
class Review:
    """A review: its subject, its cause, and the operators that closed it."""

    transaction: str | None
    reason: str
    cause: str | None
    closed_by: list[str | None] = field(default_factory=list)


@dataclass
class Fold:
    """All streams of the last dump."""

    transactions: dict[str, Seen] = field(default_factory=dict)
    balances: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    """Available and reserved, by customer and currency."""
    reviews: dict[str, Review] = field(default_factory=dict)
    adjustments: dict[str, Adjusted] = field(default_factory=dict)

    @property
    def open_reviews(self) -> list[str | None]:
        """The transactions of the open reviews."""
        return [asked.transaction for asked in self.reviews.values() if not asked.closed_by]


def minor(amount: str, currency: str) -> int:
    """An amount in minor units."""
    return int(Decimal(amount).scaleb(DECIMALS[currency]))


def kind_and_what(kind_of_event: str) -> tuple[str, str]:
    """A stored type as the kind of the transaction and the event: ``RefundReceived`` is a refund's Received."""
    kind = next(kind for kind in KINDS if kind_of_event.startswith(kind.capitalize()))
    return kind, kind_of_event.removeprefix(kind.capitalize())


def is_callback(cause: str | None) -> bool:
    """Whether the cause is a callback (a gateway and its event id)."""
    return cause is not None and cause.startswith("gateway") and ":" in cause


def is_operator(who: str | None) -> bool:
    """Whether an operator resolved it."""
    return who is not None and who.startswith("person-")


def fold_streams(history: History, fold: Fold) -> Iterator[str]:
    """Promises 5, 6 and 7 over every dump of every stream; the last dump of each stream goes into ``fold``."""
    earlier: dict[str, list[str]] = {}
    for dump in history.of("dump"):
        stream = "/".join(dump["stream"])
        before = bytes(32)
        for number, event in enumerate(dump["events"], start=1):
            body = event["body"].encode()
            before = sha256(before + body).digest()
            if event["version"] != number or json.loads(body)["version"] != number:
                yield f"5: {stream} has version {event['version']} in the place of version {number}"
            if before.hex() != event["hash"]:
                yield f"5: {stream} version {number}: the hash does not chain"
        hashes = [event["hash"] for event in dump["events"]]
        if hashes[: len(earlier.get(stream, []))] != earlier.get(stream, []):
            yield f"5: an earlier dump of {stream} is no prefix of a later one"
        earlier[stream] = hashes
        if dump["when"] == "rest":
            for event in dump["events"]:
                yield from _apply(json.loads(event["body"]), fold)


def _apply(event: Mapping[str, Any], fold: Fold) -> Iterator[str]:
    if event["type"] in {"ReviewOpened", "ReviewClosed", "BalanceAdjusted"}:
        yield from _apply_to_customer(event, fold)
    else:
        yield from _apply_to_transaction(event, fold)


def _apply_to_customer(event: Mapping[str, Any], fold: Fold) -> Iterator[str]:
    data, customer, metadata = event["data"], event["stream_id"], event["metadata"]
    if event["type"] == "BalanceAdjusted":
        key, amount, currency = data["adjustment_id"], data["amount"], data["currency"]
        if key in fold.adjustments:
            yield f"7: the adjustment {key} was made twice"
        fold.adjustments[key] = Adjusted(customer, amount, currency, metadata.get("who"))
        balance = fold.balances[customer, currency]
        balance[0] += minor(amount, currency)
        if min(balance) < 0:
            yield f"7: the adjustment {key} took its customer's balance below zero: {balance}"
    elif event["type"] == "ReviewOpened":
        if data["review_id"] in fold.reviews:
            yield f"10: the review {data['review_id']} was opened twice"
        asked = Review(data["transaction_id"], data["reason"], metadata.get("causation_id"))
        fold.reviews[data["review_id"]] = asked
    else:
        review = fold.reviews.get(data["review_id"])
        if review is None or review.closed_by:
            yield f"10: the review {data['review_id']} was closed and was not open"
        else:
            review.closed_by.append(metadata.get("who"))


def _apply_to_transaction(event: Mapping[str, Any], fold: Fold) -> Iterator[str]:
    data, customer = event["data"], event["stream_id"]
    key = data["transaction_id"]
    kind, what = kind_and_what(event["type"])
    seen = fold.transactions.get(key)
    if what == "Received":
        if seen is not None:
            seen.received += 1
            yield f"1: {key} was received {seen.received} times"
            return
        seen = fold.transactions[key] = Seen(
            kind,
            customer,
            data["gateway"],
            data["amount"],
            data["currency"],
            data.get("reserved", False),
            manual=data.get("capture") == "manual",
            parent=data.get("parent_id"),
        )
    elif seen is None or seen.kind != kind:
        yield f"6: {event['type']} of {key}, which was never received as this type"
        return
    elif what == "Submitted":
        seen.submissions += 1
        if seen.status in TERMINAL or data["attempt"] != seen.submissions:
            yield f"6: {key}, {seen.status}, was submitted as attempt {data['attempt']} instead of {seen.submissions}"
    else:
        yield from _step(key, seen, what, data)
        who = event["metadata"].get("who")
        if who is not None and who != seen.who:
            seen.settled_at = seen.version
        seen.cause, seen.who = event["metadata"].get("causation_id"), who
    seen.version = event["version"]
    if seen.parent is not None:
        yield from _apply_to_parent(key, seen, what, fold, event["version"])
    yield from _rebalance(key, seen, what, fold.balances[customer, seen.currency])


def _step(key: str, seen: Seen, what: str, data: Mapping[str, Any]) -> Iterator[str]:
    to = STEPS.get((seen.status, what))
    if to is None:
        yield f"6: {key} went from {seen.status} by {what}"
        return
    seen.status, seen.authorized = to, seen.authorized or to == "authorized"
    seen.reference = data.get("gateway_reference") or seen.reference
    seen.code = data.get("code")
    if "captured_amount" in data:
        seen.captured = minor(data["captured_amount"], data["currency"])
    if (what == "Completed" and seen.kind == "deposit") and (seen.captured is not None) != seen.manual:
        yield f"18: {key}, manual: {seen.manual}, completed with {seen.captured} captured"


def _apply_to_parent(key: str, seen: Seen, what: str, fold: Fold, version: int) -> Iterator[str]:
    """Promise 18: what an event of a child does to its parent."""
    parent = fold.transactions.get(seen.parent or "")
    if parent is None or (parent.customer, parent.gateway, parent.currency) != (
        seen.customer,
        seen.gateway,
        seen.currency,
    ):
        yield f"18: {key} has the parent {seen.parent}, which is {parent}"
        return
    if seen.kind == "refund":
        yield from _apply_refund(key, seen, what, parent)
    elif what == "Received":
        if parent.status != "authorized" or parent.ending is not None or seen.minor > parent.minor:
            yield f"18: the {seen.kind} {key} was received for {seen.parent}: {parent}"
        parent.ending = key
    elif what == "Failed":
        parent.ending = None
    if (seen.kind, what) in MOVES_PARENT:
        parent.version = version


def _apply_refund(key: str, seen: Seen, what: str, parent: Seen) -> Iterator[str]:
    started, ended = {"Received": (1, 0), "Completed": (-1, 1), "Failed": (-1, 0)}.get(what, (0, 0))
    parent.refunding += started * seen.minor
    parent.refunded += ended * seen.minor
    taken = parent.minor if parent.captured is None else parent.captured
    if what == "Received" and (parent.status != "completed" or parent.refunding + parent.refunded > taken):
        yield f"18: the refund {key} of {seen.minor} was received for {seen.parent}: {parent}"


def _rebalance(key: str, seen: Seen, what: str, balance: list[int]) -> Iterator[str]:
    if seen.kind == "deposit":
        taken = seen.minor if seen.captured is None else seen.captured
        balance[0] += taken if what == "Completed" else 0
    elif seen.reserved:
        available, reserved = {"Received": (-1, 1), "Completed": (0, -1), "Failed": (1, -1)}.get(what, (0, 0))
        balance[0] += available * seen.minor
        balance[1] += reserved * seen.minor
    if min(balance) < 0:
        yield f"7: {key} took its customer's balance below zero: {balance}"
