"""Promise 17: every event reaches the broker's consumer, in order, and as it is stored.

It reads what the broker took, confirmed and delivered, and each change of the relay's checkpoint. The broker keeps what
it confirmed. Only a skip by an operator leaves an event out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.checker_deliveries import Stored, delivery_violations, stored_events
from tests.simulation.history import History

Entry = Mapping[str, Any]
EVENTS: Final = "events"
"""The name of the relay of events."""


def event_violations(history: History) -> Iterator[str]:
    """What a consumer missed, got out of order or got wrong, and each wrong move of the checkpoint."""
    if not (found := history.of("positions")):
        return  # a world without a broker
    stored = stored_events(history, found[-1])
    watch = _Watch(stored)
    for entry in history.entries:
        yield from watch.see(entry)
    yield from watch.at_rest()
    yield from delivery_violations(history, stored)


class _Watch:
    """The state of the relay of events, from the calls on record."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        self._stored = stored
        self._by_position = {event.position: key for key, event in stored.items()}
        self._by_version = {(event.stream, event.version): key for key, event in stored.items()}
        self._position = self._token = 0
        self._refused: int | None = None
        self._holder: tuple[int, str] | None = None
        """The token of the newest lease, and its owner."""
        self._confirmed: set[str] = set()
        self._passable: set[str] = set()
        """Confirmed events that no operator has ordered to be published again since."""
        self._delivered: set[str] = set()
        self._skipped: set[str] = set()
        self._leaders: set[int] = set()
        """The processes that have led since their start."""

    def see(self, entry: Entry) -> Iterator[str]:
        """Update the state from ``entry``, and report violations."""
        match entry["what"]:
            case "boot":
                self._leaders.discard(entry["process"])
            case "led" if entry["name"] == EVENTS:
                yield from self._led(entry)
            case "published":
                yield from self._published(entry)
            case "confirmed":
                self._confirmed.add(entry["id"])
                self._passable.add(entry["id"])
            case "delivered":
                yield from self._delivered_to_consumer(entry)
            case "advanced" if entry["name"] == EVENTS and entry["moved"]:
                yield from self._advanced(entry)
            case "moved":
                yield from self._moved_by_operator(entry)
            case "checkpoint" if entry["name"] == EVENTS:
                yield from self._recorded(entry)

    def at_rest(self) -> Iterator[str]:
        """What is missing long after the last fault."""
        for key, event in self._stored.items():
            if key not in self._delivered and key not in self._skipped:
                yield f"17: {event} was never delivered"
            elif key not in self._confirmed and key not in self._skipped:
                yield f"17: {event} was never confirmed"
        last = max(self._by_position, default=0)
        if self._position < last:
            yield f"17: the checkpoint is at {self._position} long after the last fault; the last event is at {last}"
        if self._refused is not None:
            yield f"17: the relay still stays before {self._refused}"

    def _led(self, entry: Entry) -> Iterator[str]:
        token, owner = entry["token"], entry["owner"]
        self._leaders.add(entry["process"])
        if token < self._token:
            yield f"17: {owner} leads under {token} at {entry['at']}, after {self._token}"
        elif self._holder is not None and token == self._holder[0] and owner != self._holder[1]:
            yield f"17: {owner} leads at {entry['at']} under {token}, the token of {self._holder[1]}"
        if entry["position"] != self._position:
            yield f"17: {owner} begins at {entry['position']} at {entry['at']}; the checkpoint is at {self._position}"
        self._token, self._holder = token, (token, owner)

    def _published(self, entry: Entry) -> Iterator[str]:
        event = self._stored.get(entry["id"])
        if event is None:
            yield f"17: {entry['id']} was published and is not on record"
            return
        if entry["process"] not in self._leaders:
            yield f"17: process {entry['process']} published {event} and has never led"
        before = self._before(event)
        if before is not None and before not in self._confirmed and before not in self._skipped:
            yield f"17: {event} was published at {entry['at']}, and its predecessor is not confirmed"

    def _delivered_to_consumer(self, entry: Entry) -> Iterator[str]:
        event = self._stored.get(entry["id"])
        if event is None or entry["id"] in self._delivered:
            return  # the first is judged by the contents of deliveries
        self._delivered.add(entry["id"])
        before = self._before(event)
        if before is not None and before not in self._delivered and before not in self._skipped:
            yield f"17: {event} was delivered at {entry['at']} before its predecessor"

    def _before(self, event: Stored) -> str | None:
        """The id of the event's predecessor in its stream."""
        return self._by_version.get((event.stream, event.version - 1))

    def _advanced(self, entry: Entry) -> Iterator[str]:
        position, where = entry["position"], f"to {entry['position']} at {entry['at']}"
        if entry["token"] != self._token:
            yield f"17: process {entry['process']} moved the checkpoint {where} under {entry['token']}: {self._token}"
        if position < self._position:
            yield f"17: the checkpoint went back {where} from {self._position}"
        for passed in range(self._position + 1, position + 1):
            key = self._by_position.get(passed)
            if key is not None and key not in self._passable:
                yield f"17: the checkpoint moved {where}, past {self._stored[key]}, which is not confirmed"
        self._position = position
        if self._refused is not None and self._refused <= position:
            self._refused = None

    def _moved_by_operator(self, entry: Entry) -> Iterator[str]:
        to = entry["to"]
        passed = [key for at in range(self._position + 1, to + 1) if (key := self._by_position.get(at)) is not None]
        if entry["before"] != self._position:
            yield f"17: an operator moved the checkpoint from {entry['before']}; it was at {self._position}"
        if entry["action"] == "skip":
            if len(passed) != 1:
                yield f"17: an operator skipped {passed} with one command"
            self._skipped.update(passed)
        else:
            self._passable -= {key for key, event in self._stored.items() if event.position > to}
        self._position, self._token, self._refused = to, self._token + 1, None

    def _recorded(self, entry: Entry) -> Iterator[str]:
        """Compare the row of the relay with what the calls should have made of it."""
        if (entry["position"], entry["token"]) != (self._position, self._token):
            row, before = f"{entry['position']} under {entry['token']}", f"{self._position} under {self._token}"
            yield f"17: the checkpoint is at {row} at {entry['at']}, without a move from {before}"
            self._position, self._token = entry["position"], entry["token"]
        self._refused = entry["refused"]
