"""Promise 17, the contents: what a consumer of the broker gets of an event is what the store holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation.folding import KINDS, kind_and_what
from tests.simulation.history import History

Entry = Mapping[str, Any]
GENERATION_BITS: Final = 40
"""The generation stands above these bits of a position on the wire."""


@dataclass(frozen=True)
class Stored:
    """An event of the last dump."""

    position: int
    stream: tuple[str, str]
    version: int
    body: Mapping[str, Any]
    hash: str

    def __str__(self) -> str:
        return f"{self.body['type']} {self.version} of {'/'.join(self.stream)} at position {self.position}"

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about."""
        value: str | None = self.body["data"].get("transaction_id")
        return value


def stored_events(history: History, positions: Entry) -> dict[str, Stored]:
    """All events at rest, by their ids."""
    at = {(name, stream, version): position for position, name, stream, version in positions["rows"]}
    found = {}
    for dump in history.of("dump"):
        if dump["when"] == "rest":
            name, stream = dump["stream"]
            for event in dump["events"]:
                position = at[name, stream, event["version"]]
                body = json.loads(event["body"])
                found[event["id"]] = Stored(position, (name, stream), event["version"], body, event["hash"])
    return found


def delivery_violations(history: History, stored: Mapping[str, Stored]) -> Iterator[str]:
    """Every delivery whose attributes or data are not those of its event and of its event's transaction."""
    facts = {event.transaction_id: _facts(event) for event in stored.values() if _begins(event)}
    good: set[tuple[str, int, str]] = set()
    for entry in history.of("delivered"):
        event = stored.get(entry["id"])
        if event is None:
            yield f"17: {entry['id']} was delivered and is not on record"
            continue
        seen = (entry["id"], entry["generation"], f"{entry['attributes']}{entry['data']}")
        if seen in good:
            continue
        wrong = [*_wrong_attributes(entry, event), *_wrong_data(entry, event, facts)]
        if wrong:
            yield f"17: {event} was delivered at {entry['at']} with other contents: {', '.join(wrong)}"
        else:
            good.add(seen)


def _begins(event: Stored) -> bool:
    type_: str = event.body["type"]
    return type_.startswith(tuple(kind.capitalize() for kind in KINDS)) and type_.endswith("Received")


def _facts(received: Stored) -> dict[str, Any]:
    """What never changes of a transaction, from its first event."""
    data = received.body["data"]
    return {
        "transaction_id": data["transaction_id"],
        "type": kind_and_what(received.body["type"])[0],
        "parent_id": data.get("parent_id"),
        "amount": data["amount"],
        "currency": data["currency"],
        "gateway": data["gateway"],
        "customer_id": received.stream[1],
        "details": data["details"],
        "created_at": received.body["occurred_at"],
    }


def _wrong_attributes(entry: Entry, event: Stored) -> Iterator[str]:
    name, stream_id = event.stream
    expected = {
        "id": entry["id"],
        "source": f"/gateways/{stream_id}" if name == "gateways" else f"/merchants/{name}",
        "type": f"payments.{event.body['type']}.v1",
        "subject": event.transaction_id or stream_id,
        "time": event.body["occurred_at"],
        "partitionkey": f"{name}/{stream_id}",
        "sequence": f"{event.version:020}",
        "position": str(_on_wire(entry["generation"], event.position)),
        "generation": str(entry["generation"]),
    }
    attributes = entry["attributes"]
    for attribute, value in expected.items():
        if attributes.get(attribute) != value:
            yield f"{attribute} is {attributes.get(attribute)}, not {value}"
    told = (entry["position"], tuple(entry["stream"]), entry["version"], entry["key"])
    if told != (event.position, event.stream, event.version, expected["partitionkey"]):
        yield f"the message is that of {told}"


def _wrong_data(entry: Entry, event: Stored, facts: Mapping[str | None, Mapping[str, Any]]) -> Iterator[str]:
    data = json.loads(entry["data"])
    expected = {
        "position": _on_wire(entry["generation"], event.position),
        "generation": entry["generation"],
        "stream_name": event.stream[0],
        "stream_id": event.stream[1],
        "version": event.version,
        "hash": event.hash,
        **{member: event.body[member] for member in ("type", "occurred_at", "data", "metadata")},
    }
    if data["event"] != expected:
        yield f"the event is {data['event']}, not {expected}"
    if data["transaction"] != (None if event.transaction_id is None else facts.get(event.transaction_id)):
        yield f"the transaction is {data['transaction']}"


def _on_wire(generation: int, position: int) -> int:
    return (generation << GENERATION_BITS) + position
