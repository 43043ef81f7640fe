"""Reads at any process (promises 1 and 11): no accepted transaction is missing, and no version goes back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.folding import MOVES_PARENT, STEPS, kind_and_what
from tests.simulation.history import History

Entry = Mapping[str, Any]
UNCHANGED: Final = ("Submitted",)
NOT_ABOUT: Final = ("ReviewOpened", "ReviewClosed", "BalanceAdjusted")


def reading_violations(history: History) -> Iterator[str]:
    """Promise 11 over all processes; and promise 1: each status in an answer was on record."""
    clients = _Clients()
    for entry in history.entries:
        if entry["what"] == "write" and "after" in entry:
            clients.written(entry)
        elif entry["what"] == "answer":
            yield from clients.answered(entry)
        elif entry["what"] == "read":
            yield from clients.read(entry)


class _Clients:
    def __init__(self) -> None:
        self._events: set[str] = set()
        self._status: dict[str, str] = {}
        self._held: dict[str, set[tuple[int, str]]] = defaultdict(set)
        """Each version and status of a transaction so far."""
        self._parents: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        """The newest version that clients read of a transaction that surely exists."""

    def written(self, write: Entry) -> None:
        version = write["after"]
        for event_id, kind_of_event, data in (event for part in write["parts"] for event in part["events"]):
            version += 1
            if event_id in self._events or kind_of_event in NOT_ABOUT:
                continue
            self._events.add(event_id)
            key, (kind, what) = data["transaction_id"], kind_and_what(kind_of_event)
            before = self._status.get(key, "")
            if what not in UNCHANGED:
                self._status[key] = "pending" if what == "Received" else STEPS.get((before, what), "impossible")
            self._held[key].add((version, self._status[key]))
            if "parent_id" in data:
                self._parents[key] = data["parent_id"]
            if (kind, what) in MOVES_PARENT:
                self._held[self._parents[key]].add((version, self._status[self._parents[key]]))

    def answered(self, answer: Entry) -> Iterator[str]:
        if answer["answer"] == "replayed":
            self._seen.setdefault(answer["of"], 0)
        if answer["answer"] != "accepted":
            return
        key, status = answer["id"], answer["status"]
        if status != "pending" and status not in {held for _, held in self._held[key]}:
            yield f"1: {key} was accepted as {status}, a status that it did not have"
        # Other clients may have read newer versions before this answer arrived.
        self._seen[key] = max(self._seen.get(key, 0), answer.get("version") or 0)

    def read(self, read: Entry) -> Iterator[str]:
        key = read["id"]
        where = f"at {read['at']} in process {read['process']}"
        if read["version"] is None:
            if key in self._seen:
                yield f"11: {key} was not found {where} after it had been accepted or read"
            return
        if read["version"] < self._seen.get(key, 0):
            yield f"11: {key} was read {where} in version {read['version']} after {self._seen[key]}"
        if (read["version"], read["status"]) not in self._held[key]:
            yield f"11: {key} was read {where} as {read['status']} in version {read['version']}, which it never had"
        self._seen[key] = max(self._seen.get(key, 0), read["version"])
