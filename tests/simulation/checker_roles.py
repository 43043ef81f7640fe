"""Roles: an api or relay process never calls a provider and never takes work, and no hint replaces a claim."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from tests.simulation.history import History

Entry = Mapping[str, Any]
PROCESSING: Final = frozenset({"all", "processor"})
PUBLISHING: Final = frozenset({"all", "relay"})
ACCEPTING: Final = frozenset({"all", "api"})


def role_violations(history: History) -> Iterator[str]:
    """Every call, lease, command and message of a process whose role does not do that."""
    if not (boots := history.of("boot")):
        return  # of real processes, which have no number
    watch = _Watch({entry["process"]: entry["role"] for entry in boots})
    for entry in history.entries:
        yield from watch.see(entry)


class _Watch:
    def __init__(self, roles: Mapping[int, str]) -> None:
        self._roles = roles
        self._owners: dict[str, int] = {}
        """The process of each owner of leases."""
        self._held: set[tuple[int, str]] = set()
        """Each process with the work that it leased or opened."""

    def see(self, entry: Entry) -> Iterator[str]:
        """Update the state from ``entry``, and report violations."""
        match entry["what"]:
            case "owner":
                self._owners[entry["owner"]] = entry["process"]
            case "work":
                yield from self._worked(entry)
            case "write":  # work that a process opens for an owner that is not registered is queued
                self._held.update((entry["process"], key) for part in entry["parts"] for _, key in part["work"])
            case "call":
                yield from self._called(entry)
            case "sent":
                yield from self._only(ACCEPTING, entry, "accepted a command")
            case "published" | "announced":
                yield from self._only(PUBLISHING, entry, f"{entry['what']} {entry['id']}")
            case "hinted":
                yield from self._only(PROCESSING, entry, f"got a hint of {entry['id']}")

    def _only(self, roles: Collection[str], entry: Entry, did: str) -> Iterator[str]:
        role = self._roles.get(entry["process"], "unknown")
        if role not in roles:
            yield f"roles: the {role} process {entry['process']} {did} at {entry['at']}"

    def _worked(self, entry: Entry) -> Iterator[str]:
        for key, row in entry["rows"].items():
            owner = None if row is None else row[2]
            if owner is None:
                continue
            if (process := self._owners.get(owner)) is None:
                yield f"roles: {key} was leased at {entry['at']} to an owner that never registered"
                continue
            self._held.add((process, key))
            yield from self._only(PROCESSING, {**entry, "process": process}, f"leased {key}")

    def _called(self, entry: Entry) -> Iterator[str]:
        process, where = entry["process"], f"called a provider for {entry['key']}"
        yield from self._only(PROCESSING, entry, where)
        if (process, entry["key"]) not in self._held:
            yield f"roles: process {process} {where} at {entry['at']} and has never leased its work"
