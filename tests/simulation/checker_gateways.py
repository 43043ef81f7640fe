"""The providers' side of the promises: effects (3, 4, 8), and when an order may be sent again (3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.folding import Fold, Seen, is_callback, is_operator
from tests.simulation.history import History

Entry = Mapping[str, Any]


def effect_violations(history: History, fold: Fold) -> Iterator[str]:
    """Promises 3, 4 and 8: the record agrees with the providers' ledgers and the true outcomes."""
    effects: dict[str, list[Entry]] = defaultdict(list)
    for effect in history.of("effect"):
        effects[effect["key"]].append(effect)
    for key, of_key in effects.items():
        if len(of_key) > 1:
            yield f"3: {key} had {len(of_key)} effects"
        seen = fold.transactions.get(key)
        if seen is None:
            yield f"3: an effect of {key}, which is not on record"
            continue
        for effect in of_key:
            names = ("gateway", "kind", "amount", "currency", "customer")
            if tuple(effect[name] for name in names) != tuple(getattr(seen, name) for name in names):
                yield f"3: the effect of {key} is of other contents than the record"
    truth = {entry["key"]: entry["fates"] for entry in history.of("truth")}
    orders = {entry["who"]: entry for entry in history.of("resolving")}
    for key, seen in fold.transactions.items():
        if seen.manual or is_callback(seen.cause):
            continue  # see checker_children; a callback ended it, possibly a false one: see checker_callbacks
        if is_operator(seen.who):
            yield from _settled_truly(key, seen, effects.get(key, []), orders[seen.who or ""])
        else:
            yield from _ended_truly(key, seen, effects.get(key, []), truth.get(key, []))


def _settled_truly(key: str, seen: Seen, effects: list[Entry], order: Entry) -> Iterator[str]:
    """A resolution agrees with the effects, if the operator asked the provider first."""
    if order["right"] and (seen.status == "completed") != bool(effects):
        yield f"4: {key} is {seen.status} as {order['who']} resolved it, and had {len(effects)} effects"


def _ended_truly(key: str, seen: Seen, effects: list[Entry], fates: list[list[Any]]) -> Iterator[str]:
    if seen.status == "completed":
        if not effects:
            yield f"4: {key} is completed without an effect"
        elif seen.reference != effects[0]["id"]:
            yield f"8: {key} is completed under {seen.reference} and had its effect under {effects[0]['id']}"
    elif seen.status == "failed":
        if effects:
            yield f"4: {key} is failed and has an effect"
        elif seen.code != "discarded" and seen.code not in {fate[1] for fate in fates}:
            yield f"8: {key} is failed with {seen.code}, and the provider says {fates}"
    elif seen.status == "processed" and seen.reference not in {fate[0] for fate in fates}:
        yield f"8: {key} is processed under {seen.reference}, and the provider says {fates}"


@dataclass
class _Sent:
    """One submission in the history."""

    call: Entry
    result: str | None = None
    """None if its sender died during the call, or the call is in progress."""


@dataclass
class _Order:
    """The submissions and lookups of one reference."""

    sent: list[_Sent] = field(default_factory=list)
    recorded: int = 0
    """Submitted events committed so far."""
    not_received_at: float | None = None
    """The time of the newest lookup that did not find the order."""


def sending_violations(history: History) -> Iterator[str]:
    """Promise 3 at the time of sending: an order that may still have its effect is not sent again.

    Without keys each call is on record before it begins. An order that may have arrived is sent again only after a
    lookup did not find it, at a time when even a provider that had queued the order must have found it.
    """
    watch = _Sendings(history)
    for entry in history.entries:
        if entry["what"] == "write":
            yield from watch.written(entry)
        elif entry["what"] == "call":
            yield from watch.called(entry)
        elif entry["what"] == "ended":
            watch.ended(entry)


class _Sendings:
    def __init__(self, history: History) -> None:
        self._gateways = {entry["name"]: entry for entry in history.of("gateway")}
        self._orders: dict[str, _Order] = defaultdict(_Order)
        self._calls: dict[tuple[str, int], tuple[Entry, _Sent | None]] = {}
        self._events: set[str] = set()

    def written(self, write: Entry) -> Iterator[str]:
        for event_id, kind_of_event, data in (event for part in write["parts"] for event in part["events"]):
            if event_id in self._events:
                continue
            self._events.add(event_id)
            if kind_of_event.endswith("Submitted"):
                self._orders[data["transaction_id"]].recorded += 1
            elif data.get("code") == "discarded":
                yield from _discarded(data["transaction_id"], self._orders[data["transaction_id"]])

    def called(self, call: Entry) -> Iterator[str]:
        order, gateway = self._orders[call["key"]], self._gateways[call["gateway"]]
        sent = _Sent(call) if call["verb"] == "submit" else None
        self._calls[call["gateway"], call["number"]] = call, sent
        if sent is not None:
            yield from _sent_again(gateway, order, call)
            order.sent.append(sent)
        elif not gateway["looks_up"]:
            yield f"3: {call['key']} was looked up at {gateway['name']}, which has no lookups"

    def ended(self, entry: Entry) -> None:
        call, sent = self._calls[entry["gateway"], entry["number"]]
        if sent is not None:
            sent.result = entry["result"]
        elif entry["result"] == "NotReceived":
            self._orders[call["key"]].not_received_at = call["at"]


def _sent_again(gateway: Entry, order: _Order, call: Entry) -> Iterator[str]:
    key = call["key"]
    if gateway["keys"]:
        if order.recorded:
            yield f"3: {key} has submissions on record at a gateway that honours keys"
        return
    if len(order.sent) >= order.recorded:
        yield f"3: submission {len(order.sent) + 1} of {key} was sent with {order.recorded} submissions on record"
    for earlier in order.sent:
        surely_known_at = earlier.call["at"] + gateway["timeout_s"] + gateway["settle_s"]
        proven = order.not_received_at is not None and order.not_received_at >= surely_known_at
        if earlier.result != "NotSent" and not proven:
            yield f"3: {key} was sent again although its call at {earlier.call['at']} may still have its effect"


def _discarded(key: str, order: _Order) -> Iterator[str]:
    for sent in order.sent:
        if sent.result != "NotSent":
            yield f"4: {key} was discarded although its call at {sent.call['at']} may have arrived"
