"""Roles: an api or relay process never calls a provider and never takes work, and no hint replaces a claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.simulation.history import History

Entry = Mapping[str, Any]
PROCESSING: Final = frozenset({"all", "processor"})
PUBLISHING: Final = frozenset({"all", "relay"})
ACCEPTING: Final = frozenset({"all", "api"})


def role_violations(history: History) -> Iterator[str]:
    """Every call, lease, command and message of a process whose role does not do that."""
    roles = {entry["process"]: entry["role"] for entry in history.of("boot")}
    owners: dict[str, int] = {}
    held: set[tuple[int, str]] = set()
    for entry in history.entries:
        process = entry.get("process")
        match entry["what"]:
            case "owner":
                owners[entry["owner"]] = entry["process"]
            case "work":
                for key, row in entry["rows"].items():
                    if row is not None and row[2] is not None:
                        yield from _leased(key, owners.get(row[2]), roles, entry["at"])
                        held.add((owners.get(row[2], -1), key))
            case "write":  # work that a process opens for an owner that is not registered is queued
                held.update((entry["process"], key) for part in entry["parts"] for _, key in part["work"])
            case "call":
                where = f"{entry['key']} at {entry['at']}"
                if roles[entry["process"]] not in PROCESSING:
                    yield f"roles: the {roles[entry['process']]} process {process} called a provider for {where}"
                elif (entry["process"], entry["key"]) not in held:
                    yield f"roles: process {process} called a provider for {where} and has never leased its work"
            case "sent" if roles[entry["process"]] not in ACCEPTING:
                yield f"roles: the {roles[entry['process']]} process {process} accepted a command at {entry['at']}"
            case "published" | "announced" if roles[entry["process"]] not in PUBLISHING:
                yield f"roles: the {roles[entry['process']]} process {process} {entry['what']} {entry['id']}"
            case "hinted" if roles[entry["process"]] not in PROCESSING:
                yield f"roles: the {roles[entry['process']]} process {process} got a hint of {entry['id']}"


def _leased(key: str, process: int | None, roles: Mapping[int, str], at: float) -> Iterator[str]:
    if process is None:
        yield f"roles: {key} was leased at {at} to an owner that never registered"
    elif roles[process] not in PROCESSING:
        yield f"roles: the {roles[process]} process {process} leased {key} at {at}"
